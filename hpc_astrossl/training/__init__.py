"""Training: from one RunSpec to one run folder. ``loop.py`` is the page to read first."""
