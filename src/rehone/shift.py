"""Tell one kind of shift from another."""
