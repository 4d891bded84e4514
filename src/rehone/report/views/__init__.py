"""Choose what each page says of a book; one module for each page."""
