"""From a hundred labels to a classified survey: a small classifier on frozen features, and what it is worth."""
