"""A synthetic survey with the file layout of S-PLUS DR1: GalSim draws it, sep measures its catalogue."""
