"""Verbs to come."""


def add(verbs) -> None:
    """Add this module's verbs."""
