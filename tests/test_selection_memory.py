"""A selection with hardly any memory is the one made in memory, byte for byte; and its files do not stay."""

import errno
import importlib
import multiprocessing
import os
import tracemalloc
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import csv, parquet

from hpc_astrossl import cli
from hpc_astrossl.cutting.progress import Progress
from hpc_astrossl.errors import InputError
from hpc_astrossl.selection import catalogue, crossmatch, select, spectra, splits, workspace, zones
from hpc_astrossl.selection.workspace import Column, Names, Workspace, in_order
from hpc_astrossl.selection.zones import Places
from hpc_astrossl.specs.recipe import load_recipe
from hpc_astrossl.store import StoreInfo, create, sweep
from hpc_astrossl.tables import arrow_tables

building = importlib.import_module("hpc_astrossl.ingest.build")  # the package names its function so, too
planning, plans = (importlib.import_module(f"hpc_astrossl.ingest.{name}") for name in ("planning", "plans"))
ROWS, FIELDS, SIDE, LITTLE = 4000, 7, 400, 2e-5  # GB: 20 kB, in which some ten positions have room
RECIPE = """
survey: s
release: r
size: 16
catalogue: {file: "part?.parquet", id: id, ra: ra, dec: dec, x: x, y: y, flag: flag, field: field, bands: [g, r],
            magnitude: "{band}", error: "e{band}", reference: r}
fields: {rgb: "{field}.png", pixel_scale: 1}
spectra: {file: spectra.csv, ra: ra, dec: dec, spectral_class: class, warning: warning, radius: 1.5}
filters: {flags: [0], duplicates: 1.5, repeated_ids: reject, magnitudes: {g: [12, 24]}}
split: SPLIT
stores:
  pretext: {detected_in: 2, max_error: 0.1, disjoint_from: [kinds, looks]}
  kinds: {labels: {source: spectra, classes: {star: [STAR], galaxy: [GALAXY]}}}
  looks: {labels: {source: column, column: look, classes: {low: [0..3], high: [5..9]}}, balanced: true}
"""
SPLITS = ["{together: 20}", "{by: object}", "{by: sky, cell: 1}"]


def crowded(random: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions in crowds of a few arcsec at RA 0, at both poles, and at borders of zones, many exactly repeated."""
    centres = np.array([(0, 0), (359.9999, -30), (120, 90), (77, -90), (10, 0.01), (200, -0.02), (33, 45)])
    at = centres[random.integers(0, len(centres), count)]
    dec = np.clip(at[:, 1] + random.normal(0, 8, count) / 3600, -90, 90)
    stretch = 1 / np.maximum(np.cos(np.radians(dec)), 1e-4)
    ra = (at[:, 0] + random.normal(0, 8, count) / 3600 * stretch) % 360
    again = random.integers(0, count, (2, count // 10))
    ra[again[0]], dec[again[0]] = ra[again[1]], dec[again[1]]
    return ra, dec


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    """Tables in two files with every kind of fault that a filter knows, and fields without content."""
    folder, random = tmp_path_factory.mktemp("release"), np.random.default_rng(3)
    ra, dec = crowded(random, ROWS)
    ids = np.array([f"o{i}" for i in random.integers(0, 9 * ROWS // 10, ROWS).tolist()], dtype="U12")
    ids[:40], ids[40:60] = "", np.char.add("ü-", ids[40:60])
    ra[60:70], dec[70:80], ra[80:90], dec[90:99] = np.nan, np.inf, 361, -91
    table = {
        "id": ids, "ra": ra, "dec": dec, "x": random.uniform(1, SIDE, ROWS), "y": random.uniform(1, SIDE, ROWS),
        "flag": random.choice([0, 0, 0, 1], ROWS), "field": [f"F{i}" for i in random.integers(0, FIELDS, ROWS)],
        "look": random.integers(0, 40, ROWS),
    }  # fmt: skip
    for band in "gr":
        table[band] = np.where(random.random(ROWS) < 0.05, np.nan, np.round(random.normal(18, 2, ROWS), 1))
        table[f"e{band}"] = random.exponential(0.04, ROWS)
    whole = pa.table(table)
    parquet.write_table(whole.slice(0, 1500), folder / "part1.parquet")
    parquet.write_table(whole.slice(1500), folder / "part2.parquet", row_group_size=700)
    at = random.choice(ROWS, ROWS // 2)
    found = {"ra": ra[at], "dec": dec[at] + random.normal(0, 0.7, len(at)) / 3600,
             "class": random.choice(["STAR", "GALAXY", "QSO", ""], len(at)),
             "warning": random.choice([0, 0, 0, 4], len(at))}  # fmt: skip
    found["ra"][:20] += 360  # an angle all the same
    csv.write_csv(pa.table(found), folder / "spectra.csv")
    for i in range(FIELDS):
        Image.linear_gradient("L").resize((SIDE, SIDE)).save(folder / f"F{i}.png")
    return folder


@pytest.fixture
def small_blocks(monkeypatch):
    """So that a small table has many."""
    for module in (catalogue, select, spectra, splits, workspace, zones, planning, plans, arrow_tables):
        monkeypatch.setattr(module, "BLOCK", 173)


def recipe_of(tmp_path, split):
    (tmp_path / "recipe.yaml").write_text(RECIPE.replace("SPLIT", split))
    return load_recipe(tmp_path / "recipe.yaml")


def planned(recipe, release, out, memory_gb):
    """Every file of the plans of all stores, by name."""
    options = building.Options(workers=1, memory_gb=memory_gb)
    building._planned(recipe, list(recipe.stores), (release, out), options, Progress())
    assert not [path.name for path in out.iterdir() if path.name.startswith(".")]
    return {path.relative_to(out): path.read_bytes() for path in out.rglob("selection/*/*")}


@pytest.mark.parametrize("split", SPLITS)
def test_with_little_memory_the_plan_is_the_same(tmp_path, release, small_blocks, split, monkeypatch):
    recipe, spilled = recipe_of(tmp_path, split), []
    append = Column.append
    monkeypatch.setattr(Column, "append", lambda self, values: (spilled.append(1), append(self, values))[1])
    whole = planned(recipe, release, tmp_path / "whole", 2)
    assert not spilled
    found = planned(recipe, release, tmp_path / "found", LITTLE)
    assert spilled
    assert len(whole) == 9  # of three stores: objects, what was left out, facts
    assert found == whole


def standing(path, release):
    """A store with some of the release's objects, by id and by place, and others."""
    objects = catalogue.read_objects(recipe_of(path.parent, SPLITS[0]), release)
    random = np.random.default_rng(1)
    known = random.choice(np.flatnonzero(np.isfinite(objects.ra) & (np.abs(objects.dec) <= 90)), 500, replace=False)
    ids = np.array([f"other {i}" for i in range(500)], dtype=object)
    ids[:200] = objects.object_id[known[:200]]
    ra, dec = objects.ra[known], objects.dec[known]
    dec[:200], dec[400:] = 45 + np.arange(200) / 60, -60.0
    writer = create(path, shape=(500, 8, 8, 1), dtype=np.dtype("uint8"), bands=0)
    writer.write_table({"object_id": ids.astype(str), "ra": ra, "dec": dec, "split": np.zeros(500, np.uint8),
                        "label": np.full(500, -1, np.int16)})  # fmt: skip
    for start, stop in writer.shards:
        writer.write_images(start, np.ones((stop - start, 8, 8, 1), np.uint8))
    writer.finish(StoreInfo(name="s", survey="s", release="r", bands=(), channels=("i",), class_names=(),
                            pixel_scale=None, counts={}, recipe={}, provenance={"digest": "d"}))  # fmt: skip


def test_spectra_and_stores_of_others_need_no_room_either(tmp_path, release, small_blocks, monkeypatch):
    """They are gone through as the catalogue is: the plan is the same."""
    monkeypatch.setattr(sweep, "ROWS", 64)
    standing(tmp_path / "other.zarr", release)
    recipe = load_recipe(tmp_path / "recipe.yaml", [f"stores.pretext.disjoint_from=[kinds,{tmp_path}/other.zarr]"])
    whole = planned(recipe, release, tmp_path / "whole", 2)
    assert planned(recipe, release, tmp_path / "found", LITTLE) == whole
    objects = catalogue.read_objects(recipe, release)
    counts = select.select(recipe, objects, release)["pretext"].counts()
    assert counts[f"in {tmp_path}/other.zarr or within 1 arcsec of it"] > 20
    space = Workspace(memory=1 << 14, folder=tmp_path / "work")
    some, all_ = spectra.read_spectra(recipe, release, space), spectra.read_spectra(recipe, release, Workspace())
    assert isinstance(some.places.ra, Column)
    for one, other in ((some.places.ra, all_.places.ra), (some.classes, all_.classes), (some.good, all_.good)):
        np.testing.assert_array_equal(np.asarray(one), other)


def test_memory_does_not_grow_with_the_spectra(tmp_path, monkeypatch):
    """From 20,000 to 120,000, with 500 objects: less than 10 bytes for each one more."""
    for module in (spectra, zones, arrow_tables):
        monkeypatch.setattr(module, "BLOCK", 1 << 12)
    random, peaks = np.random.default_rng(0), {}
    places = Places(rows=np.arange(500), ra=random.uniform(0, 360, 500), dec=random.uniform(-5, 5, 500))
    recipe = recipe_of(tmp_path, SPLITS[0])
    for count in (20_000, 120_000):
        table = {"ra": random.uniform(0, 360, count), "dec": random.uniform(-90, 90, count),
                 "class": random.choice(["STAR", "GALAXY"], count), "warning": np.zeros(count, np.int64)}  # fmt: skip
        parquet.write_table(pa.table(table), tmp_path / "spectra.parquet", row_group_size=5000)
        named = replace(recipe, spectra=replace(recipe.spectra, file="spectra.parquet"))
        for turn in range(2):  # the first to have all libraries
            space = Workspace(memory=1 << 20, folder=tmp_path / f"{count} {turn}")
            tracemalloc.start()
            found = spectra.read_spectra(named, tmp_path, space)
            crossmatch.near_pairs(places, found.places, 1.5, space)
            peaks[count] = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
    assert (peaks[120_000] - peaks[20_000]) / 100_000 < 10, peaks


def test_the_plan_is_not_a_small_one(tmp_path, release):
    """The release above does reach what is compared: every reason, every split."""
    recipe = recipe_of(tmp_path, SPLITS[0])
    objects = catalogue.read_objects(recipe, release)
    reasons = {reason for found in select.select(recipe, objects, release).values() for reason in found.counts()}
    assert {"", "id unknown", "position unknown", "flagged", "repeated id", "within 1.5 arcsec of a brighter object",
            "no spectrum within 1.5 arcsec", "redshift with a warning", "spectra of different classes",
            "the spectrum belongs to a nearer object", "in kinds or within 1 arcsec of it"} <= reasons  # fmt: skip
    groups = crossmatch.groups(objects.object_id, (objects.ra, objects.dec), 20)
    assert (groups != np.arange(ROWS)).sum() > 1000


def test_a_dry_run_with_little_memory_shows_the_same(tmp_path, release, small_blocks, capsys):
    recipe_of(tmp_path, SPLITS[0])
    shown = []
    for memory in ("2", str(LITTLE)):
        command = ["preprocess", tmp_path / "recipe.yaml", "--source", release, "--dry-run", "--memory-gb", memory]
        assert cli.main([str(word) for word in command]) == 0
        shown.append(capsys.readouterr().out)
    assert shown[0] == shown[1]
    assert "balanced" not in shown[0]
    assert "left out" in shown[0]


@pytest.mark.parametrize("seed", range(4))
def test_neighbours_zone_by_zone_are_those_of_the_whole_sky(tmp_path, small_blocks, seed):
    random = np.random.default_rng(seed)
    here, there = crowded(random, 900), crowded(random, 700)
    one, other = (crossmatch.Places(rows=np.arange(len(ra)), ra=ra, dec=dec) for ra, dec in (here, there))
    space = Workspace(memory=random.integers(2000, 200000), folder=tmp_path)
    for radius in (0.5, 3.0, 60.0):
        np.testing.assert_array_equal(crossmatch.near_pairs(one, other, radius, space),
                                      crossmatch.pairs(*here, *there, radius))  # fmt: skip
        np.testing.assert_array_equal(crossmatch.near_others(one, other, radius, space),
                                      np.flatnonzero(crossmatch.near_any(*here, there, radius)))  # fmt: skip


def test_what_is_over_a_pole_or_beyond_a_turn_is_an_angle_all_the_same(tmp_path, small_blocks):
    here = np.array([10.0, 190.0, 200.0] * 30), np.array([89.9999, 89.9998, 10.0] * 30)
    there = np.array([190.0, 370.0, 560.0]), np.array([90.0001, 89.9998, 10.0])
    one, other = (crossmatch.Places(rows=np.arange(len(ra)), ra=ra, dec=dec) for ra, dec in (here, there))
    expected = crossmatch.pairs(*here, *there, 1.0)
    assert len(expected) > 60
    found = crossmatch.near_pairs(one, other, 1.0, Workspace(memory=4096, folder=tmp_path))
    np.testing.assert_array_equal(found, expected)


def test_a_column_in_a_file_is_indexed_as_an_array_is(tmp_path):
    random = np.random.default_rng(0)
    blocks = [np.array([f"a{i}" for i in range(5)]), np.array(["é", "long enough"]), np.full(4, ""),
              np.broadcast_to("same", 6), np.array(["x"])]  # fmt: skip
    numbers = [random.normal(size=(len(block), 2)) for block in blocks]
    for values in (blocks, numbers):
        whole, columns = np.concatenate(values), [Column(tmp_path / f"{values is blocks}")]
        if values is blocks:
            columns.append(Names(Column(tmp_path / "names")))
        for column in columns:
            for block in values:
                column.append(block)
            assert column.shape == whole.shape
            order = random.permutation(len(whole))
            mask = random.random(len(whole)) < 0.5
            for key in (slice(None), slice(3, 9), slice(1, 15, 3), order, np.sort(order[:5]), mask,
                        np.array([2, 2, 17]), np.empty(0, dtype=int), 7):  # fmt: skip
                assert np.asarray(column[key]).tolist() == whole[key].tolist()
            assert [np.asarray(column[row]).tolist() for row in (17, 0, -1, 7)] == whole[[17, 0, -1, 7]].tolist()
            with pytest.raises(IndexError):
                column[len(whole)]
            np.testing.assert_array_equal(np.asarray(column), whole)


def test_columns_in_another_order(tmp_path):
    values, texts = Column(tmp_path / "v"), Column(tmp_path / "t")
    for start in range(0, 1000, 90):
        part = np.arange(start, min(start + 90, 1000))
        values.append(part * 1.5)
        texts.append(part.astype(str))
    rows = np.random.default_rng(0).permutation(1000)[:700]
    found = list(in_order({"v": values, "t": texts}, rows, 64, Workspace(memory=1 << 20, folder=tmp_path)))
    assert [len(block["v"]) for block in found] == [64] * 10 + [60]
    assert np.concatenate([block["v"] for block in found]).tolist() == (rows * 1.5).tolist()
    assert np.concatenate([block["t"] for block in found]).tolist() == rows.astype(str).tolist()


def _killed(recipe, release, out):
    building.select = lambda *arguments, **more: os._exit(9)
    planned(recipe, release, out, LITTLE)


def test_files_of_a_selection_that_was_killed_go_with_the_next(tmp_path, release):
    recipe, out = recipe_of(tmp_path, SPLITS[1]), tmp_path / "out"
    process = multiprocessing.get_context("fork").Process(target=_killed, args=(recipe, release, out))
    process.start()
    process.join()
    assert process.exitcode == 9
    assert list(out.glob(".*.selection.*.partial/*.bin"))
    assert len(planned(recipe, release, out, LITTLE)) == 9


def test_how_far_a_long_selection_is(tmp_path, release, small_blocks, monkeypatch):
    monkeypatch.setattr(workspace, "TOLD", 1000)
    lines = []
    space = Workspace(memory=20_000, folder=tmp_path / "work", say=lines.append)
    recipe = recipe_of(tmp_path, SPLITS[1])
    select.select(recipe, catalogue.read_objects(recipe, release, space), release, space=space)
    told = [line for line in lines if "objects so far, on disk" in line]
    assert len(told) == ROWS // 1000
    assert told[-1].split()[0] == f"{ROWS:,}"
    assert any(line.startswith("neighbours within 1.5 arcsec: zone 1 of ") for line in lines)


def test_a_disk_without_room_is_named(tmp_path, release, monkeypatch):
    def full(self, values):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Column, "append", full)
    out = tmp_path / "out"
    with pytest.raises(InputError, match=r"no room for the columns of the catalogue .*--memory-gb"):
        planned(recipe_of(tmp_path, SPLITS[1]), release, out, LITTLE)
    assert not out.exists()


def test_a_memory_that_is_none():
    with pytest.raises(InputError, match="memory_gb must be positive, found 0"):
        building.Options(memory_gb=0)


def test_what_is_odd_about_the_spectra_is_told(tmp_path):
    recipe, told = recipe_of(tmp_path, SPLITS[0]), []
    (tmp_path / "spectra.csv").write_text("ra,dec,class,warning\n1,2,STAR,0")
    spectra.read_spectra(recipe, tmp_path, Workspace(say=told.append))
    assert told == ["spectra.csv (CSV): the last line of spectra.csv has no line break: look whether it was cut off"]
