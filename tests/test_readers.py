"""Stores for everybody: other readers of Zarr give every pixel and every text of every kind of store.

Readers that the test environment lacks are looked for in the interpreters that ASTROSSL_READERS names (a list with
the path separator between them: environments with xarray, tensorstore, zarrs or another zarr), zarrita in the folder
that ASTROSSL_ZARRITA names (after ``npm install zarrita @zarrita/storage`` there); without one they skip.
"""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import readers
from PIL import Image
from sky_survey import catalogue, header, recipe, stars, wcs, write

from hpc_astrossl.ingest import build
from hpc_astrossl.specs.recipe import load_recipe
from hpc_astrossl.store import open_store

PLACES = [(40, 50), (90, 60), (60, 20)]
OTHERS = [path for path in os.environ.get("ASTROSSL_READERS", "").split(os.pathsep) if path]
ZARRITA = os.environ.get("ASTROSSL_ZARRITA")
KINDS = ["bands", "bands-zstd", "rgb", "kept"]
KEPT = """
survey: pictures
release: test
size: 16
catalogue: {file: cat.csv, format: csv, id: id, ra: ra, dec: dec}
files: {image: "{id}.png", keep: png, unreadable: stop}
split: {train: 1, validation: 0, test: 0}
stores: {all: {}}
"""


@pytest.fixture(scope="module", params=KINDS)
def store(request, tmp_path_factory):
    """A store of each kind that there is."""
    tmp = tmp_path_factory.mktemp(request.param)
    folder = tmp / "survey"
    folder.mkdir()
    cards = header((110, 130))
    ra, dec = wcs(cards).all_pix2world(*np.transpose(PLACES), 1)
    catalogue(folder, ra, dec, id=["Sα 1", "S2", "S-β-333"])
    write(folder / "A_r.fits", stars((110, 130), PLACES, noise=1.0), cards)
    settings = {"bands": (), "bands-zstd": ("compression=zstd",), "kept": (), "rgb": (
        "stores.all.images=rgb", "fields.lupton={red: r, green: r, blue: r, stretch: 0.5}")}[request.param]  # fmt: skip
    if request.param == "kept":
        for name in ("Sα 1", "S2", "S-β-333"):
            pixels = np.random.default_rng(len(name)).integers(0, 255, (16, 16, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{name}.png")
        (folder / "recipe.yaml").write_text(KEPT)
        made = load_recipe(folder / "recipe.yaml", [])
    else:
        made = recipe(folder, *settings)
    (built,) = build(made, folder, tmp / "out")
    return Path(built.path)


def ours(path: Path) -> dict:
    """What our own reader gives, in the words of ``readers``."""
    store = open_store(path)
    found = {name: readers.of(values) for name, values in store.table.items()}
    found["images"] = readers.of(store.raw_chunk(0)[: len(store)])
    return found


def interpreters(reader: str) -> list[str]:
    """Those that have a reader: this one, and others that the environment names."""
    module = {"zarrs": "zarrs", "xarray": "xarray", "tensorstore": "tensorstore", "zarr": "zarr"}[reader]
    mine = [sys.executable] if importlib.util.find_spec(module) else []
    ask = ["-c", f"import importlib.util, sys; sys.exit(importlib.util.find_spec({module!r}) is None)"]
    return mine + [path for path in OTHERS if subprocess.run([path, *ask], check=False).returncode == 0]


@pytest.mark.parametrize("reader", readers.READERS)
def test_every_reader_gives_every_pixel_and_text(store, reader):
    found = interpreters(reader)
    if not found:
        pytest.skip(f"{reader} is not installed here, nor in an interpreter of ASTROSSL_READERS")
    expected = ours(store)
    for python in found:
        call = [python, readers.__file__, reader, str(store)]
        environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
        answer = subprocess.run(call, capture_output=True, text=True, check=False, env=environment)
        assert answer.returncode == 0, answer.stderr
        arrays = json.loads(answer.stdout)
        texts = {name for name, one in expected.items() if "texts" in one}
        assert set(expected) - set(arrays) == (texts if reader == "tensorstore" else set())
        for name in set(expected) & set(arrays):
            assert arrays[name] == expected[name], name


@pytest.mark.skipif(ZARRITA is None, reason="ASTROSSL_ZARRITA names no folder in which zarrita is installed")
def test_zarrita_gives_every_pixel_and_text(store, tmp_path):
    (tmp_path / "node_modules").symlink_to(Path(ZARRITA) / "node_modules")
    call = ["node", shutil.copy(Path(readers.__file__).with_name("zarrita.mjs"), tmp_path), str(store)]
    answer = subprocess.run(call, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    arrays = json.loads(answer.stdout)
    for name, expected in ours(store).items():
        assert arrays[name] == {key: value for key, value in expected.items() if key != "kind"}, name


def test_texts_have_a_numeric_twin(store):
    table = open_store(store).table
    assert [bytes(row).rstrip(b"\0").decode() for row in table["object_id_utf8"]] == table["object_id"].tolist()
