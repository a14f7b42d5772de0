"""Cutting fields into a store beside esa/Cutana, astropy's Cutout2D, an older commit of ours, and the floor.

    python benchmarks/cutting.py [--cases plain-20000 …] [--rounds 3] [--workers 2] [--cutana PYTHON] [--old CHECKOUT]

One input for all: bands of 10000 × 10000 float32 sky noise with a WCS and DATASUM, plain or RICE-compressed, and a
table of positions. Every way is a command of its own, round after round by turns; CPU seconds (user and system, its
children's too, imports and start included) and their medians are compared, so that other work on the machine cancels.
Memory is the largest that any one process held, resident and mapped; ``written`` is what the kernel put to the disk.

The floor reads every file once, copies every window once, adds up every pixel once, and writes them once.
Cutana (PyPI, 0.4.0) runs in an interpreter of its own, ``--cutana``; an older commit of this package in a checkout,
``--old``; what is not given is left out, and said so. Writes results/cutting.json.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
RECORD = HERE / "results" / "cutting.json"
# name: compression, bands, objects, pixels along a cutout
CASES = {
    "plain-2000": (None, 3, 2_000, 64),
    "plain-20000": (None, 3, 20_000, 64),
    "plain-100000": (None, 3, 100_000, 64),
    "rice-2000": ("RICE_1", 3, 2_000, 64),
    "rice-20000": ("RICE_1", 3, 20_000, 64),
    "bands12-20000": (None, 12, 20_000, 32),
}
SCALE, CENTRE = 0.5, (150.0, 2.0)  # arcsec per pixel; ra and dec of the field's middle
RECIPE = """survey: benchmark
release: "1"
size: {size}
catalogue:
  file: catalogue.cat
  id: id
  ra: ra
  dec: dec
  x: x
  y: y
  field: field
  bands: [{bands}]
  magnitude: "{{band}}"
  error: "e{{band}}"
  reference: b00
fields:
  bands: "{prefix}-{{field}}-{{band}}.fits"
  pixel_scale: 0.5
  zero_points: points.cat
  zero_point_field: field
  zero_point_column: "{{band}}"
stores:
  objects:
    images: bands
"""


def write_fields(folder: Path, case: str, side: int) -> None:
    """The case's bands, unless another case has written them, and its table and recipe."""
    from astropy.io import fits
    from astropy.wcs import WCS

    compression, bands, count, size = CASES[case]
    prefix = compression or "plain"
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix = ["RA---TAN", "DEC--TAN"], CENTRE, [side / 2, side / 2]
    wcs.wcs.cdelt = [-SCALE / 3600, SCALE / 3600]
    header = wcs.to_header()
    header["BUNIT"], header["MAGZERO"] = "adu", 25.0
    for band in range(bands):
        path = folder / f"{prefix}-F1-b{band:02d}.fits"
        if path.exists():
            continue
        pixels = np.random.default_rng(band).normal(0, 1, (side, side)).astype(np.float32)
        unit = fits.PrimaryHDU(pixels, header)
        if compression:
            packed = fits.CompImageHDU(pixels, header, compression_type=compression, quantize_level=4,
                                       quantize_method=1, dither_seed=1)  # fmt: skip
            unit = fits.HDUList([fits.PrimaryHDU(), packed])
        unit.writeto(path, checksum=True)
    x, y = np.random.default_rng(count).uniform(size, side - size, (2, count))
    ra, dec = wcs.pixel_to_world_values(x - 1, y - 1)
    names = [f"b{band:02d}" for band in range(bands)]
    lines = [" ".join(["# id ra dec x y field", *names, *(f"e{name}" for name in names)])]
    lines += [f"o{i:07d} {ra[i]:.9f} {dec[i]:.9f} {x[i]:.3f} {y[i]:.3f} F1" + " 20" * bands + " 0.1" * bands
              for i in range(count)]  # fmt: skip
    place = folder / case
    place.mkdir()
    (place / "catalogue.cat").write_text("\n".join(lines) + "\n")
    (place / "points.cat").write_text(" ".join(["# field", *names]) + "\nF1" + " 25" * bands + "\n")
    (place / "recipe.yaml").write_text(RECIPE.format(size=size, bands=", ".join(names), prefix=prefix))
    for path in folder.glob(f"{prefix}-F1-*.fits"):
        if int(path.stem[-2:]) < bands:
            (place / path.name).symlink_to(path)


def files(place: Path) -> list[Path]:
    """The bands of a case, in order."""
    return sorted(path.resolve() for path in place.glob("*.fits"))


def positions(place: Path) -> np.ndarray:
    """(x, y) of every object, FITS pixels; (N, 2)."""
    return np.loadtxt(place / "catalogue.cat", usecols=(3, 4))


def floor(place: Path, out: Path, size: int) -> None:
    """Read once, copy once, add up once, write once, one band after the other; a band is held whole."""
    from astropy.io import fits

    corners = np.floor(positions(place) - 1 - (size - 1) / 2 + 0.5).astype(int).tolist()
    windows = np.empty((len(corners), size, size), dtype=np.float32)
    with open(out / "pixels", "wb") as stream:
        for path in files(place):
            number, start = (1, 0) if path.name.startswith("RICE") else (0, fits.getheader(path))
            if number:
                pixels = fits.getdata(path, 1)
            else:
                shape, start = (start["NAXIS2"], start["NAXIS1"]), len(start.tostring(padding=True))
                pixels = np.fromfile(path, ">f4", shape[0] * shape[1], offset=start).reshape(shape)
            for i, (left, bottom) in enumerate(corners):
                windows[i] = pixels[bottom : bottom + size, left : left + size][::-1]
            windows.sum(dtype=np.float64)
            stream.write(windows)
        stream.flush()
        os.fsync(stream.fileno())


def cutout2d(place: Path, out: Path, size: int) -> None:
    """astropy's Cutout2D for each object and band, written as one array."""
    from astropy.io import fits
    from astropy.nddata import Cutout2D

    where = positions(place)
    cutouts = np.empty((len(where), size, size, len(files(place))), dtype=np.float32)
    for band, path in enumerate(files(place)):
        pixels = fits.getdata(path, 1 if path.name.startswith("RICE") else 0)
        for i, (x, y) in enumerate(where):
            cutouts[i, ..., band] = Cutout2D(pixels, (x - 1, y - 1), size).data
    np.save(out / "pixels.npy", cutouts)


def cutana(place: Path, out: Path, size: int, workers: int) -> None:
    """Cutana to Zarr, float32, without normalisation or conversion, told not to wait and not to hold memory back."""
    import pandas
    from cutana import Orchestrator, get_default_config

    table, paths = pandas.read_csv(place / "catalogue.cat", sep=" "), [str(path) for path in files(place)]
    table.columns = [*table.columns[1:], ""]  # the first word is a mark
    names = [Path(path).stem for path in paths]
    pandas.DataFrame({"SourceID": table["id"], "RA": table["ra"], "Dec": table["dec"], "diameter_pixel": size,
                      "fits_file_paths": json.dumps(paths)}).to_csv(out / "sources.csv", index=False)  # fmt: skip
    config = get_default_config()
    config.source_catalogue, config.output_dir = str(out / "sources.csv"), str(out / "cutouts")
    config.output_format, config.data_type, config.target_resolution = "zarr", "float32", size
    config.normalisation_method, config.apply_flux_conversion = "none", False
    config.max_workers, config.loadbalancer.initial_workers = workers, workers
    config.loadbalancer.skip_memory_calibration_wait = True
    config.loadbalancer.main_process_memory_reserve_gb = 0.5
    config.loadbalancer.max_sources_per_process = -(-len(table) // workers)
    extension = "COMPRESSED_IMAGE" if paths[0].rpartition("/")[2].startswith("RICE") else "PRIMARY"
    config.fits_extensions = [extension]
    config.selected_extensions = [{"name": name, "ext": extension} for name in names]
    config.channel_weights = {name: [float(i == j) for j in range(len(names))] for i, name in enumerate(names)}
    print(Orchestrator(config).run())


def commands(options: argparse.Namespace) -> dict[str, tuple[list[str], dict[str, str]]]:
    """Way -> (command before the case's folder, environment)."""
    ours = [sys.executable, "-m", "hpc_astrossl", "preprocess"]
    alone = [str(HERE / "cutting.py"), "--alone"]
    found = {"ours": (ours, {"PYTHONPATH": str(HERE.parent)})}
    if options.old:
        found["ours before"] = (ours, {"PYTHONPATH": str(options.old.resolve())})
    if options.cutana:
        found["Cutana"] = ([str(options.cutana), *alone, "cutana"], {})
    found["Cutout2D"] = ([sys.executable, *alone, "cutout2d"], {})
    found["floor"] = ([sys.executable, *alone, "floor"], {})
    return {way: found[way] for way in found if not options.ways or way in options.ways}


def measure(way: str, command: list[str], environment: dict[str, str], place: Path, options) -> dict:
    """CPU and wall seconds, peak memory of a process (MB) and MB written, of one way from start to end."""
    out = Path(tempfile.mkdtemp(dir=place.parent))
    if way.startswith("ours"):
        command = [*command, str(place / "recipe.yaml"), "--source", str(place), "--out", str(out),
                   "--workers", str(options.workers)]  # fmt: skip
    else:
        command = [*command, str(place), str(out), str(CASES[place.name][3]), str(options.workers)]
    begin = time.perf_counter()
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    with open(out / "log", "w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=out)
    peaks: dict[int, int] = {}
    while True:
        pid, status, used = os.wait4(process.pid, os.WNOHANG)
        if pid:
            break
        for one in family(process.pid):
            peaks[one] = max(peaks.get(one, 0), peak(one))
        time.sleep(0.05)
    wall = time.perf_counter() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    result = {"cpu_s": used.ru_utime + used.ru_stime, "wall_s": wall, "peak_mb": max(peaks.values(), default=0),
              "written_mb": used.ru_oublock * 512 / 1e6}  # fmt: skip
    if process.returncode:
        result["error"] = (out / "log").read_text()[-400:]
    if options.keep:
        print(out)
    else:
        shutil.rmtree(out)
    os.sync()  # the next one finds no dirty pages of this one
    return result


def family(pid: int) -> list[int]:
    """The process and all below it."""
    found = [pid]
    for one in found:
        try:
            for task in Path(f"/proc/{one}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
        except OSError:
            continue
    return found


def peak(pid: int) -> int:
    """The most resident memory a process has held, mapped pages too; MB."""
    try:
        return int(Path(f"/proc/{pid}/status").read_text().partition("VmHWM:")[2].split()[0]) // 1024
    except (OSError, IndexError):
        return 0


def run(options: argparse.Namespace, folder: Path) -> None:
    """Every case, its ways by turns; the record grows with each."""
    table = {}
    for case in options.cases:
        write_fields(folder, case, options.side)
        for path in files(folder / case):
            path.read_bytes()  # all find it in the page cache
        ways, found = commands(options), {}
        for _ in range(options.rounds):
            for way, (command, environment) in ways.items():
                result = measure(way, command, environment, folder / case, options)
                if "error" in result:
                    print(f"{way}: {result['error']}", file=sys.stderr)
                found.setdefault(way, []).append(result)
        table[case] = {way: medians(results) for way, results in found.items()}
        show(case, table[case])
        record(options, table)


def medians(results: list[dict]) -> dict:
    """Of the rounds that ended well; what the rounds were beside."""
    well = [result for result in results if "error" not in result]
    if not well:
        return {"error": results[0]["error"]}
    middle = {key: round(statistics.median(result[key] for result in well), 2) for key in well[0]}
    return {**middle, "rounds_cpu_s": [round(result["cpu_s"], 2) for result in well]}


def show(case: str, ways: dict[str, dict]) -> None:
    ours = ways.get("ours", {}).get("cpu_s")
    print(f"{case}\n{'':<14} {'CPU s':>8} {'wall s':>8} {'peak MB':>8} {'written MB':>11} {'ours / it':>10}")
    for way, one in ways.items():
        if "error" not in one:
            one["ours_over_it"] = round(ours / one["cpu_s"], 3) if ours else None
            print(f"{way:<14} {one['cpu_s']:8.2f} {one['wall_s']:8.2f} {one['peak_mb']:8.0f} {one['written_mb']:11.0f} "
                  f"{one['ours_over_it'] or 0:10.2f}", flush=True)  # fmt: skip


def record(options: argparse.Namespace, table: dict[str, dict]) -> None:
    """Write {case: {way: medians and ratios}}, and what they were measured with."""
    from hpc_astrossl import provenance

    facts = {
        "command": " ".join(["python benchmarks/cutting.py", *sys.argv[1:]]),
        "date": provenance.now(), "code": provenance.code(), "libraries": provenance.libraries(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores", "load": os.getloadavg()[0],
        "cases": {case: dict(zip(("compression", "bands", "objects", "pixels"), CASES[case], strict=True))
                  for case in table},
        "medians": table,
    }  # fmt: skip
    options.out.write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n")


def main() -> None:
    if "--alone" in sys.argv:
        _, _, way, place, out, size, workers = sys.argv
        more = (int(workers),) if way == "cutana" else ()
        globals()[way](Path(place), Path(out), int(size), *more)
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--side", type=int, default=10_000, help="pixels of a field")
    parser.add_argument("--old", type=Path, help="a checkout of an older commit")
    parser.add_argument("--cutana", type=Path, help="a Python that has Cutana")
    parser.add_argument("--ways", nargs="+", help="only these: ours, 'ours before', Cutana, Cutout2D, floor")
    parser.add_argument("--scratch", type=Path, help="folder for fields and stores, some 20 GB")
    parser.add_argument("--keep", action="store_true", help="leave what was made, and say where")
    parser.add_argument("--out", type=Path, default=RECORD)
    options = parser.parse_args()
    for name in ("old", "cutana"):
        if getattr(options, name) is None:
            print(f"--{name} is not given: left out")
    folder = Path(tempfile.mkdtemp(dir=options.scratch))
    try:
        run(options, folder)
    finally:
        if not options.keep:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
