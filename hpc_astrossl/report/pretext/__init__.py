"""The pretext task."""
