"""Say how much a model leans on each feature."""
