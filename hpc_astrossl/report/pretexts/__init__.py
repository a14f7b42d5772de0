"""Pretexts side by side."""
