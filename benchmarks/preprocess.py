"""Cutting objects out of a compressed field, beside pure decompression and two common ways. One command, a table.

    python benchmarks/preprocess.py --side 11000 --bands 2

One field of ``side`` × ``side`` pixels is simulated (sky noise and a few thousand sources), compressed as fpack does
(RICE_1, quantised), in rows and in tiles of 100 × 100 pixels, and cut once per line of the table, each in a process of
its own, one after the other, so that peak memory is its own. The ratios compare lines of one run, so a busy machine
disturbs them little. The authors' way holds the whole cube in memory and writes an .npy file an object.
"""

import argparse
import importlib.metadata
import json
import multiprocessing
import platform
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.nddata import Cutout2D

from hpc_astrossl import __version__
from hpc_astrossl.cutting.fits import open_image
from hpc_astrossl.cutting.source import window
from hpc_astrossl.cutting.windows import gather

SIZE = 32  # pixels, as in the paper
TILES = {"rows": lambda side: (1, side), "100 rows": lambda side: (100, side), "100 × 100": lambda side: (100, 100)}


def ours(paths, positions, folder):
    """What astrossl preprocess does with a field: checksum, the tiles needed, a band at a time."""
    out = np.zeros((len(positions), SIZE, SIZE, len(paths)), dtype=np.float32)
    for channel, path in enumerate(paths):
        with open_image(path) as image:
            tops, lefts = window(image.shape[0] - positions[:, 1], SIZE), window(positions[:, 0] - 1, SIZE)
            gather(image, tops, lefts, out[..., channel])
    return out


def decompression(paths, positions, folder):
    """Each band decompressed whole and let go: the floor for a field with many objects."""
    for path in paths:
        with fits.open(path) as units:
            units[1].data  # noqa: B018  reading it is the work


def authors(paths, positions, folder):
    """The whole cube in memory, then a file an object."""
    cube = np.stack([fits.getdata(path, 1) for path in paths], axis=-1)
    for number, (x, y) in enumerate(positions):
        bottom, left = int(y - 1 - SIZE // 2), int(x - 1 - SIZE // 2)
        np.save(folder / f"{number}.npy", cube[bottom : bottom + SIZE, left : left + SIZE])


def cutout2d(paths, positions, folder):
    """astropy's Cutout2D for each object and band."""
    out = np.zeros((len(positions), SIZE, SIZE, len(paths)), dtype=np.float32)
    for channel, path in enumerate(paths):
        data = fits.getdata(path, 1)
        for number, (x, y) in enumerate(positions):
            out[number, ..., channel] = Cutout2D(data, (x - 1, y - 1), SIZE).data
    return out


WAYS = {"pure decompression": decompression, "ours": ours, "cube and .npy (the authors)": authors,
        "Cutout2D an object": cutout2d}  # fmt: skip


def write_field(folder: Path, tiles: str, options) -> list[Path]:
    """The bands of one field, RICE-compressed; the same pixels whatever the tiles."""
    paths = []
    for band in range(options.bands):
        draw = np.random.default_rng(band)
        pixels = draw.normal(0, 1, (options.side, options.side)).astype(np.float32)
        for x, y in draw.integers(16, options.side - 16, (3000, 2)):
            pixels[y, x] += 200
        unit = fits.CompImageHDU(pixels, compression_type="RICE_1", quantize_level=4, quantize_method=1, dither_seed=1,
                                 tile_shape=TILES[tiles](options.side))  # fmt: skip
        paths.append(folder / f"{tiles.replace(' ', '')}-{band}.fits.fz")
        fits.HDUList([fits.PrimaryHDU(), unit]).writeto(paths[-1], checksum=True)
    return paths


def _child(way, paths, positions, folder, pipe):
    WAYS[way](paths[:1], positions[:1], folder)  # import and warm the file cache: not part of the work
    start, cpu = time.perf_counter(), time.process_time()
    WAYS[way](paths, positions, folder)
    wall, cpu = time.perf_counter() - start, time.process_time() - cpu
    pipe.send({"wall_s": wall, "cpu_s": cpu, "peak_mb": _peak()})


def _peak() -> float:
    """Largest resident memory of this process so far, MB; unlike getrusage it does not remember the parent's."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def measure(way, paths, positions) -> dict:
    """Seconds and peak memory of one way in a fresh process."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    with tempfile.TemporaryDirectory(dir=paths[0].parent) as folder:
        process = context.Process(target=_child, args=(way, paths, positions, Path(folder), there))
        process.start()
        there.close()
        result = here.recv()
        process.join()
    return result


def run(options) -> list[dict]:
    """All lines of the table."""
    lines = []
    with tempfile.TemporaryDirectory(dir=options.scratch) as folder:
        for tiles in TILES:
            paths = write_field(Path(folder), tiles, options)
            for count in (1000, 20):
                positions = np.random.default_rng(count).uniform(SIZE, options.side - SIZE, (count, 2))
                ways = WAYS if tiles == "rows" and count == 1000 else ("pure decompression", "ours")
                results = {way: measure(way, paths, positions) for way in ways}
                floor = results["pure decompression"]["cpu_s"]
                for way, result in results.items():
                    lines.append({"tiles": tiles, "objects": count, "way": way, **result,
                                  "ratio_cpu": result["cpu_s"] / floor})  # fmt: skip
                    print(_line(lines[-1]), flush=True)
            for path in paths:
                path.unlink()
    return lines


def _line(row: dict) -> str:
    return (f"{row['tiles']:<10} {row['objects']:>6,}  {row['way']:<28} {row['wall_s']:8.2f} {row['cpu_s']:8.2f} "
            f"{row['ratio_cpu']:8.2f} {row['peak_mb']:9.0f}")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--side", type=int, default=11000, help="pixels; 11000: a field of S-PLUS")
    parser.add_argument("--bands", type=int, default=2, help="a field of S-PLUS: 12")
    parser.add_argument("--scratch", type=Path, default=None, help="folder for the simulated field")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "preprocess.json")
    options = parser.parse_args()
    print(f"{'tiles':<10} {'objects':>7} {'way':<28} {'wall s':>8} {'CPU s':>8} {'ratio':>8} {'peak MB':>9}")
    lines = run(options)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    facts = {
        "command": " ".join(["python benchmarks/preprocess.py", *sys.argv[1:]]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"hpc_astrossl": __version__, "python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in ("astropy", "numpy")},
        "machine": f"{platform.machine()}, {multiprocessing.cpu_count()} cores",
        "field": {"side": options.side, "bands": options.bands, "cutout": SIZE, "compression": "RICE_1"},
        "ratio_cpu": "CPU seconds over those of pure decompression in the same run, tiles and objects",
        "lines": lines,
    }
    options.out.write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
