"""What frozen features look like."""
