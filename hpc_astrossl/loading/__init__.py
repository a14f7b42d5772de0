"""Loading: a store's rows as batches of scaled, augmented images on the device. ``names.LOADERS`` lists the loaders."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from hpc_astrossl.loading.choice import choose
from hpc_astrossl.loading.loader import Batch, Loader, LoaderSpec, Ranks
from hpc_astrossl.loading.mapped import MappedLoader
from hpc_astrossl.loading.pixels import Skipped
from hpc_astrossl.names import LOADERS, resolve

if TYPE_CHECKING:
    import torch

    from hpc_astrossl.store import Store

__all__ = ["Batch", "Loader", "LoaderSpec", "MappedLoader", "Skipped", "choose", "open_loader"]


def open_loader(
    store: "Store",
    rows: Sequence[int] | np.ndarray,
    spec: LoaderSpec,
    *,
    engine: Ranks,
    device: "torch.device | str",
    name: str = "auto",
) -> Loader:
    """The loader of that name for ``rows`` of ``store``; ``engine`` says which share is this rank's.

    "auto" chooses by device and store, see ``choose``. InputError when the name is unknown, the loader's library is
    not installed, or the spec does not suit the store.
    """
    reason = f"{name} was asked for"
    if name == "auto":
        name, reason = choose(store, rows, spec, device)
    loader = resolve(LOADERS, name, "loader")(store, rows, spec, engine=engine, device=device)
    loader.reason = reason
    return loader
