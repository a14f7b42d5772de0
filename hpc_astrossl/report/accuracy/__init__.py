"""Accuracy by set and scheme."""
