"""What the metadata of an array claim, held against its files before memory is asked for."""

import math
from pathlib import Path

import zarr

SURE = 1 << 30  # bytes that any array may claim
RATIO = 20_000  # bytes in memory for one in the files: more than any codec makes of pixels


def doubt(folder: Path, array: zarr.Array) -> str | None:
    """Why the array in ``folder`` cannot be what it claims: far more rows, or larger chunks, than its files hold."""
    item = max(1, array.dtype.itemsize)
    claimed, chunk = math.prod(array.shape) * item, math.prod(array.chunks) * item
    if max(claimed, chunk) <= SURE:
        return None
    chunks = folder / "c"
    sizes = [entry.stat().st_size for entry in chunks.rglob("*") if entry.is_file()] if chunks.is_dir() else []
    unit = array.shards or array.chunks
    files = math.prod(-(-length // size) for length, size in zip(array.shape, unit, strict=True))
    if files > len(sizes):
        return f"claims shape {array.shape}, which is {files:,} files; there are {len(sizes):,}"
    if max(claimed, chunk) > RATIO * max(1, sum(sizes)):
        return f"claims {max(claimed, chunk) / 1e9:,.0f} GB in {sum(sizes) / 1e6:,.1f} MB of files"
    return None
