"""From a release on disk to stores: catalogue, selection, labels, splits, cutouts (preprocess/ holds the recipes)."""

from hpc_astrossl.ingest.build import Made, build

__all__ = ["Made", "build"]
