"""Single objects."""
