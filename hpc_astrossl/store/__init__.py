"""The store: one survey's cutouts and what is known of them. The only door to Zarr (docs/store-format.md)."""

from hpc_astrossl.store.check import check
from hpc_astrossl.store.layout import SPLITS, StoreInfo
from hpc_astrossl.store.reader import Store, open_store
from hpc_astrossl.store.writer import StoreWriter, create

__all__ = ["SPLITS", "Store", "StoreInfo", "StoreWriter", "check", "create", "open_store"]
