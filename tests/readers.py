"""Opens a store with one reader and prints what it holds as JSON: ``python readers.py READER STORE``.

Run by test_readers in environments of their own. Of each array: its shape, and SHA-256 of its numbers, or its texts.
"""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np


def of(values) -> dict:
    """What is compared: numbers by their bytes, texts as they are."""
    values = np.asarray(values)
    if values.dtype.kind in "OUST":
        return {"shape": list(values.shape), "texts": [str(text) for text in values.tolist()]}
    values = np.ascontiguousarray(values.astype(values.dtype.newbyteorder("<")))
    return {"shape": list(values.shape), "kind": values.dtype.str, "sum": hashlib.sha256(values.tobytes()).hexdigest()}


def names(path: Path) -> list[str]:
    return sorted(one.parent.name for one in path.glob("*/zarr.json") if json.loads(one.read_bytes()).get("shape"))


def by_zarr(path: Path) -> dict:
    import zarr

    group = zarr.open_group(str(path), mode="r")
    return {name: of(group[name][...]) for name in names(path)}


def by_zarrs(path: Path) -> dict:
    import zarr
    import zarrs  # noqa: F401

    zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"})
    return by_zarr(path)


def by_xarray(path: Path) -> dict:
    import xarray

    data = xarray.open_zarr(str(path), consolidated=False, mask_and_scale=False, decode_times=False)
    return {name: of(data[name].values) for name in names(path)}


def by_tensorstore(path: Path) -> dict:
    """Numbers alone: it knows no strings, so their numeric twins stand for them."""
    import tensorstore

    found = {}
    for name in names(path):
        if json.loads((path / name / "zarr.json").read_bytes())["data_type"] != "string":
            spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{path / name}/"}}
            found[name] = of(tensorstore.open(spec, read=True).result().read().result())
    return found


READERS = {"zarr": by_zarr, "zarrs": by_zarrs, "xarray": by_xarray, "tensorstore": by_tensorstore}

if __name__ == "__main__":
    print(json.dumps(READERS[sys.argv[1]](Path(sys.argv[2]))))
