"""What the launch tests share: a work directory with the attributes of stores, recipes and commands that really run."""

import json
import os
import subprocess
import sys
from pathlib import Path

from hpc_astrossl.manifest import write_manifest

CHECKOUT = Path(__file__).parent.parent


def make_store(workdir: Path, path: str) -> None:
    """The files of a store that a login node reads."""
    folder = workdir / path
    folder.mkdir(parents=True)
    attributes = {"format": "astrossl-store", "version": 1, "class_names": ["star", "galaxy"], "bands": ["r"]}
    attributes["counts"] = {"splits": {"train": 50000, "validation": 100, "test": 100}}
    (folder / "zarr.json").write_text(json.dumps({"zarr_format": 3, "node_type": "group", "attributes": attributes}))
    list_files(folder)


def list_files(store: Path) -> None:
    """Write a manifest of the store's files as they are now."""
    (store / "images").mkdir(exist_ok=True)
    write_manifest(store, [])


def make_workdir(folder: Path, *stores: str) -> Path:
    """A work directory with those stores in it."""
    folder.mkdir(parents=True, exist_ok=True)
    for store in stores:
        make_store(folder, store)
    return folder


def finish_run(workdir: Path, experiment: str, run_id: str) -> None:
    """The file whose presence means that a run is done."""
    folder = workdir / "runs" / experiment / run_id
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "result.json").write_text("{}")


def astrossl(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess:
    """Run the command line of this checkout in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "hpc_astrossl", *map(str, arguments)],
        cwd=cwd, capture_output=True, text=True, timeout=600,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT), "ASTROSSL_CACHE": str(cwd / "cache"), **environment},
    )  # fmt: skip


SMALL = """\
experiment: small
pretext: {store: stores/pretext.zarr}
sets:
  SG: {store: stores/SG.zarr}
schemes: [scratch, features-magnitudes]
seeds: [0, 1]
resources:
  features: {pack: 2}
"""
