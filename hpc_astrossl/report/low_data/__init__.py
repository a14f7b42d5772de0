"""Accuracy with few labels."""
