"""Which codec for the chunks of a store: size and reading speed for noisy sky, RGB and twelve calibrated bands.

    python benchmarks/codec.py [--fields 1] [--objects 3000]

simulates a survey, makes an RGB and a 12-band store of it, writes their images anew with each codec (chunks, shards,
order of axes and the crc32c of every chunk as in the product), reads them whole, chunk by chunk, and writes
results/codec.json.
Times are CPU seconds of this process (median of the rounds), since other work may share the machine; reading is that
of the loaders.
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec, TransposeCodec, ZstdCodec

from hpc_astrossl import cli, provenance
from hpc_astrossl.store import open_store
from hpc_astrossl.store.blocks import PLANES_FIRST, Blocks
from hpc_astrossl.store.layout import chunk_rows

ROOT = Path(__file__).parent.parent
BLOCK = 1 << 17  # bytes, fixed: left alone, Blosc takes it from the machine


def blosc(name: str, shuffle: str, size: int) -> list:
    """Blosc around ``name``, with the bytes of ``size``-byte numbers put in order by ``shuffle``."""
    return [BloscCodec(cname=name, clevel=1, shuffle=shuffle, typesize=size, blocksize=BLOCK)]


def codecs(size: int) -> dict[str, list]:
    """Name -> compressors for numbers of ``size`` bytes."""
    return {
        "none": [],
        "lz4": blosc("lz4", "noshuffle", size),
        "lz4 + bitshuffle": blosc("lz4", "bitshuffle", size),
        "zstd 1": [ZstdCodec(level=1)],
        "zstd 3": [ZstdCodec(level=3)],
        "zstd 1 + shuffle": blosc("zstd", "shuffle", size),
        "zstd 1 + bitshuffle": blosc("zstd", "bitshuffle", size),
    }


def measure(images: np.ndarray, compressors: list, folder: Path, rounds: int) -> dict[str, float]:
    """Bytes an object, and microseconds of CPU an object to write and to read."""
    chunk, shard = chunk_rows(images.shape, images.dtype)
    filters = [TransposeCodec(order=PLANES_FIRST)] if images.dtype.kind == "f" else None
    array = zarr.create_array(
        folder / "images", shape=images.shape, dtype=images.dtype, chunks=(chunk, *images.shape[1:]),
        shards=(shard, *images.shape[1:]), filters=filters, compressors=[*compressors, Crc32cCodec()], overwrite=True,
    )  # fmt: skip
    written, _ = timed(lambda: array.__setitem__(slice(None), images))
    stored = sum(path.stat().st_size for path in (folder / "images").rglob("*") if path.is_file())
    blocks = Blocks(folder / "images", array)
    if not blocks.direct:
        raise SystemExit("this is not the reading of the loaders")
    reads = [timed(lambda: read(blocks, images, chunk))[0] for _ in range(rounds)]
    each = 1e6 / len(images)
    return {"ratio": round(images.nbytes / stored, 3), "bytes": round(stored / len(images)),
            "write_us": round(written * each, 1), "read_us": round(statistics.median(reads) * each, 1)}  # fmt: skip


def timed(work) -> tuple[float, object]:
    """(CPU seconds, result) of one call."""
    begin = time.process_time()
    result = work()
    return time.process_time() - begin, result


def read(blocks: Blocks, images: np.ndarray, chunk: int) -> None:
    """Every chunk once; what is read must be what was written."""
    memory = blocks.room(chunk)
    for index, start in enumerate(range(0, len(images), chunk)):
        part = blocks.read(index, memory)
        if not np.array_equal(part[0], images[start]):
            raise SystemExit(f"rows {start} on: not what was written")


def sky(folder: Path, fields: int, objects: int) -> dict[str, np.ndarray]:
    """The images of an RGB and of a 12-band store of one simulated survey."""
    survey, found = folder / "survey", {}
    run("simulate", survey, "--fields", fields, "--objects", objects)
    for images in ("rgb", "bands"):
        options = {"images": images, "disjoint_from": "[]", "max_error": "null", "detected_in": 0}
        settings = [part for key, value in options.items() for part in ("--set", f"stores.pretext.{key}={value}")]
        run("preprocess", ROOT / "preprocess/simulated.yaml", "--source", survey, "--out", folder / images,
            "--store", "pretext", *settings)  # fmt: skip
        store = open_store(folder / images / "pretext.zarr")
        whole = len(store) // store.chunk_rows * store.chunk_rows  # the padding of a last chunk would flatter some
        found[images] = store.images(np.arange(whole))
    return found


def run(*words) -> None:
    """One command of the product; the benchmark ends if it fails."""
    if status := cli.main([str(word) for word in words]):
        raise SystemExit(status)


def main() -> None:
    """Measure everything, print a table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fields", type=int, default=1)
    parser.add_argument("--objects", type=int, default=3000, help="a field")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    table = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for kind, images in sky(folder, options.fields, options.objects).items():
            for codec, compressors in codecs(images.dtype.itemsize).items():
                table.setdefault(kind, {})[codec] = row = measure(images, compressors, folder, options.rounds)
                print(f"{kind:6} {codec:20} {row}", flush=True)
            table[kind]["images"] = {"shape": list(images.shape), "dtype": str(images.dtype)}
    facts = {"cores": os.cpu_count(), "load": os.getloadavg(), "machine": platform.machine()}
    result = {"table": table, "options": vars(options), "libraries": provenance.libraries(), "where": facts}
    (ROOT / "benchmarks/results/codec.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
