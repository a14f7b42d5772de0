"""A whole synthetic survey: bands drawn and fields measured by worker processes, tables joined, then made visible.

Everything is written into ``OUT.partial``, which becomes OUT by one rename when ``simulation.json`` is in it. No byte
depends on the clock or on the number of workers: each band of each field has random streams of its own.
"""

import json
import multiprocessing
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from hpc_astrossl import __version__, config
from hpc_astrossl.errors import InputError
from hpc_astrossl.simulate import images, photometry, tables
from hpc_astrossl.simulate.bands import BANDS
from hpc_astrossl.specs.simulation import SurveySpec

FORMAT, VERSION, RECORD = "astrossl-simulation", 1, "simulation.json"
CATALOGUE, SPECTRA, TRUTH = "master_catalog.cat", "spec.csv", "truth.csv"


def _progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def simulate(
    out: Path, spec: SurveySpec, workers: int | None = None, say: Callable[[str], None] = _progress
) -> dict[str, int]:
    """Write the survey into the folder ``out`` and return its counts: objects drawn, detected, with a spectrum.

    A folder that already holds this very survey is left as it is. InputError when it holds anything else, when it
    cannot be written, or when ``workers`` is less than 1. ``workers`` None: as many as this process has cores.
    """
    out = Path(out)
    if workers is not None and workers < 1:
        raise InputError(f"--workers must be at least 1, found {workers}")
    if (counts := _existing(out, spec)) is not None:
        say(f"{out} already holds this survey; nothing to do")
        return counts
    final = out.resolve()  # out may be "." or a link to an empty folder
    folder = final.with_name(final.name + ".partial")
    try:
        shutil.rmtree(folder, ignore_errors=True)  # what an attempt that died has left
        folder.mkdir(parents=True)
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror}); choose another folder") from None
    counts = _write(folder, spec, workers or len(os.sched_getaffinity(0)), say)
    folder.rename(final)
    return counts


def _existing(out: Path, spec: SurveySpec) -> dict[str, int] | None:
    """The counts of the complete survey of that specification in ``out``, None when the folder is free to use."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return None
    try:
        record = json.loads((out / RECORD).read_text(encoding="utf-8"))
        complete = all((out / name).stat().st_size == size for name, size in record["files"].items())
        if complete and all(record[key] == value for key, value in _identity(spec).items()):
            return record["counts"]
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        complete = False
    found = "another simulated survey" if complete else "not a complete simulated survey"
    raise InputError(f"{out}: exists and is {found}; choose another folder, or remove this one")


def _identity(spec: SurveySpec) -> dict[str, object]:
    """What decides the bytes of a survey, as it stands in the record."""
    return {"format": FORMAT, "version": VERSION, "software": __version__, "parameters": config.plain(spec)}


def _write(folder: Path, spec: SurveySpec, workers: int, say: Callable[[str], None]) -> dict[str, int]:
    fields = range(spec.fields)
    bands = range(len(BANDS))
    with _mapper(min(workers, spec.fields * len(BANDS))) as each:
        for field in fields:
            images.write_zero_points(folder, spec, field)
        drawn = each(partial(_draw, folder, spec), [(field, band) for field in fields for band in bands])
        for done, _ in enumerate(drawn, start=1):
            if done % len(BANDS) == 0:
                say(f"drawn {done // len(BANDS)}/{spec.fields} fields")
        catalogue = [photometry.header()]
        for done, lines in enumerate(each(partial(photometry.measure, folder), spec.names), start=1):
            catalogue += lines
            say(f"measured {done}/{spec.fields} fields, {len(catalogue) - 1} sources so far")
    spectra = [line for field in fields for line in tables.spectra(spec, field)]
    truth = [line for field in fields for line in tables.truth(spec, field)]
    _table(folder / CATALOGUE, catalogue)
    _table(folder / SPECTRA, [tables.SPECTRA_HEADER, *spectra])
    _table(folder / TRUTH, [tables.TRUTH_HEADER, *truth])
    counts = {"drawn": len(truth), "detected": len(catalogue) - 1, "spectra": len(spectra)}
    files = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
    record = _identity(spec) | {"counts": counts, "files": files}
    (folder / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return counts


def _draw(folder: Path, spec: SurveySpec, place: tuple[int, int]) -> None:
    images.write_band(folder, spec, *place)


def _table(path: Path, lines: Iterable[str]) -> None:
    path.write_text("\n".join(lines) + "\n", encoding="ascii")


@contextmanager
def _mapper(workers: int) -> Iterator[Callable]:
    """A ``map`` that yields results in order, over worker processes, or in this one when it is alone."""
    if workers == 1:
        yield map
        return
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            yield pool.map
        except BaseException:  # an interrupt too: do not draw what was still waiting
            pool.shutdown(cancel_futures=True)
            raise
