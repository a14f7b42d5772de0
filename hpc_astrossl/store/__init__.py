"""The store: one survey's cutouts and what is known of them. The only door to Zarr (docs/store-format.md)."""

from hpc_astrossl.store.check import check
from hpc_astrossl.store.claim import begun, selection_folder, tidy
from hpc_astrossl.store.encoded import Encoding, examine
from hpc_astrossl.store.layout import REJECTED, SPLITS, StoreInfo
from hpc_astrossl.store.memory import MemoryStore
from hpc_astrossl.store.reader import Store, open_store
from hpc_astrossl.store.rowset import RowSet
from hpc_astrossl.store.staging import nearest
from hpc_astrossl.store.writer import Arrays, StoreWriter, abandon, create, ending, join, records

__all__ = [
    "REJECTED", "SPLITS", "Arrays", "Encoding", "MemoryStore", "RowSet", "Store", "StoreInfo", "StoreWriter", "abandon",
    "begun", "check", "create", "ending", "examine", "join", "nearest", "open_store", "records", "selection_folder",
    "tidy",
]  # fmt: skip
