"""Whatever is put into recipes, catalogues, images, stores and run folders: it is taken, or an InputError says why not.

``make test`` tries the same examples every time; ``make faults`` sets FUZZ_EXAMPLES to draw that many new ones.
"""

import contextlib
import copy
import json
import os
from pathlib import Path

import hypothesis.strategies as st
import pyarrow as pa
import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from pyarrow import parquet

from faults import bad_catalogues, stock
from faults import small_release as release
from hpc_astrossl import config
from hpc_astrossl.cutting import fits
from hpc_astrossl.errors import InputError
from hpc_astrossl.launch import grid
from hpc_astrossl.launch.ledger import Ledger
from hpc_astrossl.specs.cluster import ClusterSpec
from hpc_astrossl.specs.jobs import JobsSpec
from hpc_astrossl.specs.recipe import load_recipe
from hpc_astrossl.specs.run import RunSpec
from hpc_astrossl.store import open_store
from hpc_astrossl.tables.tables import read_table
from hpc_astrossl.training.folder import RunFolder

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "0"))
fuzzed = settings(
    max_examples=EXAMPLES or 40,
    derandomize=not EXAMPLES,
    deadline=None,
    database=None,
    phases=[Phase.generate],  # an example that fails is shown as it was drawn
    suppress_health_check=list(HealthCheck),
)
pytestmark = pytest.mark.timeout(200 + EXAMPLES)  # a hang becomes a failure

ROOT = Path(__file__).parent.parent.parent
HOSTILE = ("", "../..", "a\nb", "{x}", "{", "\0", "1e999", "((", "$(id)", "9" * 400)
YAML = (
    "a|b: |- |\n|\n  |{|}|[|]|, |&x |*x|!!int |!!python/name:os |> |'|#|<<: |? |%YAML 9\n|---\n|...|1:30|0o7|0x1F|.inf"
)
MORE_YAML = ("|", "1_000", "2020-01-01", "~", "\t", "\u2028", "=", "@", "`")
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(-3, 70), st.floats(), st.text(max_size=20),
    st.sampled_from(HOSTILE),
)  # fmt: skip
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)
yaml_pieces = st.lists(st.sampled_from((*YAML.split("|"), *MORE_YAML)), max_size=12).map("".join)


def plain(data) -> bool:
    """Whether nothing but mappings, lists and scalars of Python is in it."""
    if isinstance(data, dict):
        return all(isinstance(key, str) and plain(value) for key, value in data.items())
    if isinstance(data, list):
        return all(map(plain, data))
    return data is None or type(data) in (bool, int, float, str)


def accepted(read, *arguments, **options) -> bool:
    """Whether input was taken; anything but an InputError in one message comes through."""
    with contextlib.suppress(InputError):
        read(*arguments, **options)
        return True
    return False


def places(data, path=()) -> list[tuple]:
    """Where something stands in plain data, from the whole to the leaves."""
    inner = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [path, *(place for key, value in inner for place in places(value, (*path, key)))]


@st.composite
def spoilt(draw, data):
    """Plain data of which one or two places hold something else, are gone, or have a neighbour."""
    data = {"": copy.deepcopy(data)}
    for _ in range(draw(st.integers(1, 2))):
        *way, key = draw(st.sampled_from(places(data)[1:]))
        holder = data
        for step in way:
            holder = holder[step]
        action = draw(st.sampled_from(["replace", "remove", "add"]))
        if action == "add" and isinstance(holder, dict):
            holder[draw(st.text(max_size=8))] = draw(values)
        elif action == "remove" and way:
            del holder[key]
        else:
            holder[key] = draw(values)
    return data.get("")


@st.composite
def damaged(draw, data: bytes, start: int = 0, stop: int | None = None):
    """Bytes with a few of them between ``start`` and ``stop`` replaced, inserted or removed."""
    data, stop = bytearray(data), len(data) if stop is None else min(stop, len(data))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(start, max(start, min(stop, len(data)) - 1)))
        piece = draw(
            st.binary(max_size=4) | st.sampled_from([b"\0", b"9999999999", b",", b"\n", b'"', b"-", b"'", b"E"])
        )
        data[place : place + draw(st.integers(0, 4))] = piece
    return bytes(data)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """The smallest release, its catalogue also as FITS and Parquet, and a work directory with a store and a run."""
    folder = tmp_path_factory.mktemp("fuzz")
    release.make(folder)
    bad_catalogues.as_fits(1)(folder)
    columns = list(zip(*(line.split(",") for line in release.rows()), strict=True))
    numbers = [list(map(float, column)) for column in columns[1:5]]
    table = pa.table(dict(zip(release.HEADER.split(",")[:5], [columns[0], *numbers], strict=True)))
    parquet.write_table(table, folder / "release" / "objects.parquet")
    stock.copy(folder)
    return folder


def expanded(path: Path) -> None:
    """A recipe of experiments as ``plan`` takes it."""
    grid.expand(config.load(path, JobsSpec), cluster=ClusterSpec(kind="slurm"), where=str(path))


READERS = {
    "preprocess": (ROOT / "preprocess" / "splus_dr1.yaml", load_recipe),
    "jobs": (ROOT / "jobs" / "paper.yaml", expanded),
    "cluster": (ROOT / "jobs" / "clusters" / "slurm_gpu.yaml", lambda path: config.load(path, ClusterSpec)),
    "run": (None, lambda path: config.load(path, RunSpec)),
}


def good(kind: str):
    """Plain data that the reader of that kind takes."""
    path = READERS[kind][0]
    return yaml.safe_load(path.read_text()) if path else config.plain(stock.make_run(stock.HEAD))


@pytest.mark.parametrize("kind", READERS)
def test_recipes(folder, kind):
    data, read, path = good(kind), READERS[kind][1], folder / "fuzzed.yaml"
    counts = {True: 0, False: 0}

    @fuzzed
    @given(spoilt(data))
    def check(change):
        path.write_text(yaml.safe_dump(change, allow_unicode=True), encoding="utf-8", errors="surrogateescape")
        counts[accepted(read, path)] += 1

    path.write_text(yaml.safe_dump(data))
    assert accepted(read, path)
    check()
    assert min(counts.values()) > 0, counts  # both answers were seen


@fuzzed
@given(st.binary(max_size=60) | yaml_pieces.map(str.encode) | st.text(max_size=60).map(str.encode))
def test_texts_that_may_be_yaml(text):
    path = stock.workdir() / "fuzzed.yaml"
    path.write_bytes(text)
    with contextlib.suppress(InputError):
        assert plain(config.read_yaml(path))


@fuzzed
@given(st.lists(st.builds("{}={}".format, st.sampled_from(["a", "a.b", "", ".", "a..b"]), yaml_pieces), max_size=3))
def test_settings(pairs):
    with contextlib.suppress(InputError):
        asked = config.settings(pairs)
        assert plain(asked)
        assert asked.keys() == {pair.partition("=")[0].partition(".")[0] for pair in pairs}


WANTED = {"ID": "text", "RA": "number", "DEC": "number", "X": "number"}


@pytest.mark.parametrize("format", ["csv", "ascii", "fits", "parquet"])
def test_catalogues(folder, format):
    suffix = {"ascii": "csv"}.get(format, format)
    data = (folder / "release" / f"objects.{suffix}").read_bytes()
    if format == "ascii":
        data = data.replace(b",", b" ")
    path = folder / f"fuzzed.{suffix}"

    @fuzzed
    @given(damaged(data) | damaged(data, stop=6000))
    def check(change):
        path.write_bytes(change)
        accepted(read_table, path, WANTED, format=format)

    path.write_bytes(data)
    assert accepted(read_table, path, WANTED, format=format)
    check()


def test_images(folder):
    data, path = release.band(folder).read_bytes(), folder / "fuzzed.fits"

    @fuzzed
    @given(damaged(data, stop=2880) | damaged(data), st.booleans())
    def check(change, checksum):
        path.write_bytes(change)
        accepted(look, path, checksum)

    path.write_bytes(data)
    assert accepted(look, path, True)
    check()


def look(path: Path, checksum: bool) -> None:
    """A corner of an image."""
    with fits.open_image(path, checksum=checksum) as image:
        image.read(slice(0, 4), slice(0, 4))


@pytest.mark.parametrize("name", ["zarr.json", "images/zarr.json", "images/manifest.json"])
def test_metadata_of_stores(folder, name):
    path = folder / "toy" / name
    text = path.read_bytes()

    @fuzzed
    @given(spoilt(json.loads(text)).map(json.dumps).map(str.encode) | damaged(text))
    def check(change):
        path.write_bytes(change)
        accepted(open_store, folder / "toy", verify=name.endswith("manifest.json"))

    try:
        check()
    finally:
        path.write_bytes(text)
    assert accepted(open_store, folder / "toy")


def test_results_of_runs(folder):
    run = folder / stock.run().relative_to(stock.workdir())
    text = (run / "result.json").read_bytes()

    @fuzzed
    @given(spoilt(json.loads(text)).map(json.dumps).map(str.encode) | damaged(text))
    def check(change):
        (run / "result.json").write_bytes(change)
        accepted(RunFolder(run).complete)

    check()


def test_ledgers(folder):
    entry = {"kind": "local", "stage": "scratch", "task": "a", "items": ["b"], "commands": [0], "pid": 1, "time": ""}
    ledger = Ledger(folder, "fuzzed")
    ledger.folder.mkdir(parents=True)

    @fuzzed
    @given(spoilt(entry).map(json.dumps).map(str.encode) | damaged(json.dumps(entry).encode()))
    def check(change):
        (ledger.folder / "jobs.jsonl").write_bytes(change)
        accepted(ledger.entries)

    check()


def test_both_sorts_of_answer_are_told_apart():
    assert accepted(config.settings, ["a=1"])
    assert not accepted(config.settings, ["a"])
    with pytest.raises(ZeroDivisionError):
        accepted(lambda: 1 / 0)
