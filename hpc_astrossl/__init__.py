"""hpc_astrossl: learn from survey images on GPU clusters, from a survey release on disk to tables of results.

Importing the package imports nothing else: a login node has neither numpy nor torch.
"""

__version__ = "0.2.0"
