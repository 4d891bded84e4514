"""Find in a project's own history from which drift on performance was lost."""
