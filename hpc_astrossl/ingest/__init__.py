"""From a release on disk to stores: catalogue, selection, labels, splits, cutouts (preprocess/ holds the recipes)."""

from hpc_astrossl.ingest.build import Made, Options, build

__all__ = ["Made", "Options", "build"]
