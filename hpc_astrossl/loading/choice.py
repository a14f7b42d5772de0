"""Which loader serves a store on a device, and why; said in the log, in result.json and by ``astrossl doctor``."""

from collections.abc import Sequence

import numpy as np
import torch

from hpc_astrossl.loading.loader import LoaderSpec
from hpc_astrossl.loading.pixels import fits
from hpc_astrossl.store import Store

ON_GPU = "dali", "DALI decodes, augments and scales on the GPU"
ON_CPU = "vectorised", "on the CPU, where DALI's cost for each sample is more than the work"


def choose(store: Store, rows: Sequence[int] | np.ndarray, spec: LoaderSpec,
           device: torch.device | str) -> tuple[str, str]:  # fmt: skip
    """(name of the loader, the reason in words)."""
    resident = fits(store, np.asarray(rows), spec.resident_mb)
    name, why = ON_GPU if torch.device(device).type == "cuda" else ON_CPU
    slow = "" if store.direct else "; zarr-python reads the chunks, which are not as astrossl preprocess lays them out"
    return name, f"{why}; the split {'stays in memory' if resident else 'is streamed'}{slow}"
