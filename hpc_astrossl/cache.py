"""The folder outside every tree where weights and built wheels are kept: ``$ASTROSSL_CACHE``."""

import os
import re
from pathlib import Path

from hpc_astrossl.errors import InputError


def cache_folder() -> Path:
    """``$ASTROSSL_CACHE``, else ``$XDG_CACHE_HOME/hpc_astrossl``, else ``~/.cache/hpc_astrossl``."""
    if folder := os.environ.get("ASTROSSL_CACHE"):
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hpc_astrossl"


def weights_file(name: str) -> Path:
    """Where the weights of that name lie once ``astrossl weights add`` or ``fetch`` has put them there.

    InputError for a name that would be a path.
    """
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise InputError(f"weights {name!r}: a name has letters, digits, '_', '-' and '.', and is no path")
    return cache_folder() / "weights" / f"{name}.safetensors"
