"""Where weights lie: ``$ASTROSSL_CACHE``, a folder outside every tree, and those that come with this program."""

import os
import re
from pathlib import Path

from hpc_astrossl.errors import InputError

# VGG16's convolutions of ImageNet in half precision (CC BY 4.0: weights/README.md), by name: file and SHA-256.
BUNDLED_FOLDER = Path(__file__).parent / "weights"
BUNDLED = {
    "imagenet-vgg16": (
        "imagenet-vgg16.half.safetensors",
        "4dea88c92f9470f41891e7032f88cddf1d12553cf85a6227ec691f87aecb7c32",
    )
}


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


def found_weights(name: str) -> Path | None:
    """The file of weights by name: the cache's, which may be in full precision, else the bundled one; None: neither."""
    if (path := weights_file(name)).is_file():
        return path
    file, _ = BUNDLED.get(name, ("", ""))
    return BUNDLED_FOLDER / file if file and (BUNDLED_FOLDER / file).is_file() else None


def seen_file(weights: Path) -> Path:
    """Where it is told what weights that were exported from a run have seen."""
    return weights.with_name(f"{weights.name}.seen.npz")


def bundled(sha256: str | None) -> bool:
    """Whether weights of this SHA-256 are those in half precision that come with this program."""
    return sha256 in {digest for _, digest in BUNDLED.values()}
