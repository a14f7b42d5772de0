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
import tarfile
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
# The last two are what version 0.1.0 (991ffdc) wrote: tests/golden/stores-0.1.0.tar.xz.
KINDS = ["bands", "bands-zstd", "rgb", "kept", "kept-jpeg", "bands-0.1.0", "kept-0.1.0"]
GOLDEN = Path(__file__).parent / "golden" / "stores-0.1.0.tar.xz"
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
    if request.param.endswith("0.1.0"):
        with tarfile.open(GOLDEN) as packed:
            packed.extractall(tmp, filter="data")
        return tmp / f"{request.param}.zarr"
    folder = tmp / "survey"
    folder.mkdir()
    cards = header((110, 130))
    ra, dec = wcs(cards).all_pix2world(*np.transpose(PLACES), 1)
    catalogue(folder, ra, dec, id=["Sα 1", "S2", "S-β-333"])
    write(folder / "A_r.fits", stars((110, 130), PLACES, noise=1.0), cards)
    kept = request.param.startswith("kept")
    colours = ("stores.all.images=rgb", "fields.lupton={red: r, green: r, blue: r, stretch: 0.5}")
    settings = {"bands": (), "bands-zstd": ("compression=zstd",), "rgb": colours}.get(request.param)
    if kept:
        kind = "jpeg" if request.param == "kept-jpeg" else "png"
        for name in ("Sα 1", "S2", "S-β-333"):
            pixels = np.random.default_rng(len(name)).integers(0, 255, (16, 16, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{name}.{kind}")
        (folder / "recipe.yaml").write_text(KEPT.replace("png", kind))
        made = load_recipe(folder / "recipe.yaml", [])
    else:
        made = recipe(folder, *settings)
    (built,) = build(made, folder, tmp / "out")
    return Path(built.path)


def ours(path: Path) -> dict:
    """What our own reader gives, in the words of ``readers``."""
    store = open_store(path)
    found = {name: readers.of(store.table[name]) for name in readers.names(path) if name != "images"}
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
    if reader == "xarray" and store.name.endswith("0.1.0.zarr"):
        pytest.skip("stores of 0.1.0 have no dimension names, without which xarray opens none (docs/store-format.md)")
    for python in found:
        call = [python, readers.__file__, reader, str(store)]
        environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
        answer = subprocess.run(call, capture_output=True, text=True, check=False, env=environment)
        assert answer.returncode == 0, answer.stderr
        arrays = json.loads(answer.stdout)
        texts = {name for name, one in expected.items() if "texts" in one}
        assert texts
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
    if store.name.endswith("0.1.0.zarr"):
        pytest.skip("stores of 0.1.0 have texts alone")
    table = open_store(store).table
    assert [bytes(row).rstrip(b"\0").decode() for row in table["object_id_utf8"]] == table["object_id"].tolist()


def test_stores_of_0_1_0_hold_what_they_held(tmp_path):
    """Pixels, ids and labels of stores that 0.1.0 made; kept files decode."""
    with tarfile.open(GOLDEN) as packed:
        packed.extractall(tmp_path, filter="data")
    old = open_store(tmp_path / "bands-0.1.0.zarr")
    assert sorted(old.table["object_id"].tolist()) == ["S-3", "S2", "Sα 1"]
    assert old.info.class_names == ("A", "B")
    assert old.images(np.arange(3)).shape == (3, 8, 8, 2)
    noise = np.random.default_rng(0).normal(0, 1, (60, 60)).astype(np.float32)  # band g, zero point 25, 0.5 arcsec
    row = old.table["object_id"].tolist().index("S2")
    factor = np.float32(1e5 * 10 ** (-0.4 * 25) / 0.25)
    whole = noise[::-1]
    np.testing.assert_allclose(old.images(np.array([row]))[0, ..., 0] / factor, whole[32:40, 36:44], rtol=1e-5)
    kept = open_store(tmp_path / "kept-0.1.0.zarr")
    row = kept.table["object_id"].tolist().index("S2")
    drawn = np.random.default_rng(2).integers(0, 255, (8, 8, 3)).astype(np.uint8)
    assert np.abs(kept.images(np.array([row]))[0].astype(int) - drawn).mean() < 60
