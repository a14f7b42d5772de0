"""Rows of the table: stores that are damaged, foreign, of another version, or not of what the run was trained on."""

import json
import shutil
from pathlib import Path

import numpy as np
import zarr
from contracts.stores import make_store

from faults import stock
from faults.cases import REFUSED, Case, cut, flip, nothing, spoiling
from hpc_astrossl import manifest


def checked(folder: Path) -> list[str]:
    stock.copy(folder)
    return ["check", str(folder / "toy"), "--deep"]


def shown(folder: Path) -> list[str]:
    stock.copy(folder)
    return ["info", str(folder / "toy")]


def trained(folder: Path) -> list[str]:
    """A run that is not done yet, of another seed."""
    stock.copy(folder)
    return ["train", str(folder / "run.yaml"), "--workdir", str(folder), "--set", "seed=1"]


def asked(folder: Path) -> list[str]:
    """The finished run is asked about the store."""
    run = stock.copy(folder)
    return ["predict", str(run), str(folder / "toy"), "--out", str(folder / "answers.csv")]


def shard(folder: Path) -> Path:
    (found,) = [path for path in (folder / "toy" / "images" / "c").rglob("*") if path.is_file()]
    return found


def attribute(name: str, value: object):
    """A row's spoiling: another attribute of the group; the manifest is made to fit, so that only it tells."""

    def spoil(folder: Path) -> None:
        path = folder / "toy" / "zarr.json"
        group = json.loads(path.read_text())
        group["attributes"][name] = value
        path.write_text(json.dumps(group))
        refit(folder)

    return spoil


def without(name: str):
    """A row's spoiling: an attribute of the group removed."""

    def spoil(folder: Path) -> None:
        path = folder / "toy" / "zarr.json"
        group = json.loads(path.read_text())
        del group["attributes"][name]
        path.write_text(json.dumps(group))
        refit(folder)

    return spoil


def refit(folder: Path) -> None:
    """Write the manifest anew: the store was made so."""
    manifest.write_manifest(folder / "toy", [])


def column(name: str, change):
    """A row's spoiling: a column of the table changed by ``change(values)``."""

    def spoil(folder: Path) -> None:
        array = zarr.open_group(folder / "toy", mode="r+")[name]
        array[...] = change(array[...])
        refit(folder)

    return spoil


def foreign(folder: Path) -> None:
    shutil.rmtree(folder / "toy")
    zarr.create_group(folder / "toy", zarr_format=3).create_array("images", shape=(4, 8, 8, 3), dtype="uint8")


def older_zarr(folder: Path) -> None:
    shutil.rmtree(folder / "toy")
    zarr.create_group(folder / "toy", zarr_format=2)


def file_instead(folder: Path) -> None:
    shutil.rmtree(folder / "toy")
    (folder / "toy").write_text("moved")


def fluxes(folder: Path) -> list[str]:
    """A store of fluxes, among them a NaN and an infinity."""
    store = make_store(folder / "fluxes", rows=40, shape=(8, 8, 3), dtype="float32")
    images = zarr.open_group(store.path, mode="r+")["images"]
    images[3, 4, 4, 0], images[5, 4, 4, 1] = np.nan, np.inf
    manifest.write_manifest(store.path, [])
    return ["check", str(store.path), "--deep"]


def half_written(folder: Path) -> None:
    (folder / "toy").rename(folder / "toy.partial")


check, info, train, predict = (spoiling("store", base) for base in (checked, shown, trained, asked))
CASES = [
    check("flipped bit", lambda f: flip(shard(f), 0.3), REFUSED, r"images/c/\S+ \(rows 0\.\.47\): altered, its SHA"),
    train("flipped bit, in training", lambda f: flip(shard(f), 0.3), REFUSED,
          r"toy: array images, chunk 0, rows 0\.\.47 \(objects T0000 to T0047\): damaged or unreadable .*make the"),
    predict("flipped bit, in use", lambda f: flip(shard(f), 0.3), REFUSED, "damaged or unreadable"),
    check("missing shard", lambda f: shard(f).unlink(), REFUSED, r"images/c/\S+ \(rows 0\.\.47\): missing"),
    train("missing shard, in training", lambda f: shard(f).unlink(), REFUSED, r"toy: damaged store: images/c/\S+.*missi"
          r"ng\. astrossl check says all; make the store again"),
    check("shard of zero bytes", lambda f: cut(shard(f), 0), REFUSED, r"0 bytes, the manifest says [\d,]+"),
    predict("shard of zero bytes, in use", lambda f: cut(shard(f), 0), REFUSED, "0 bytes, the manifest says"),
    check("truncated shard", lambda f: cut(shard(f), 0.9), REFUSED, r"bytes, the manifest says"),
    check("missing array", lambda f: shutil.rmtree(f / "toy" / "label"), REFUSED, "missing arrays label"),
    info("without its manifest", lambda f: (f / "toy/images/manifest.json").unlink(), REFUSED, "has no images/mani"),
    info("a manifest that is no JSON", lambda f: cut(f / "toy/images/manifest.json"), REFUSED,
         r"manifest\.json: damaged \(.*make the store again"),
    info("attributes that are no JSON", lambda f: cut(f / "toy/zarr.json"), REFUSED, "toy: not a Zarr v3 group, or"),
    info("another version", attribute("version", 2), REFUSED, "store format version 2, this program reads version 1"),
    info("missing attributes", without("channels"), REFUSED, "toy: damaged store, missing attributes channels"),
    info("attributes of another type", attribute("class_names", "star"), REFUSED, "toy: damaged store, .*class_names"),
    info("foreign Zarr", foreign, REFUSED, r"a Zarr group, but not an astrossl store \(attribute format is None"),
    info("Zarr of version 2", older_zarr, REFUSED, "toy: not a Zarr v3 group, or"),
    info("a file in its place", file_instead, REFUSED, "toy: not a Zarr v3 group, or"),
    info("half written", half_written, REFUSED, "toy: half-written, no such store yet"),
    Case("store", "NaN pixels", fluxes, REFUSED, "1 images with NaN or infinite pixels in chunk 0, first row 3"),
    check("repeated ids", column("object_id", lambda ids: np.where(ids == "T0001", "T0000", ids)), REFUSED,
          "1 object ids are repeated"),
    check("a label without a class", column("label", lambda label: label + 1), REFUSED, r"label outside -1\.\.1"),
    check("a split that is none", column("split", lambda split: split + 9), REFUSED, "split holds"),
    check("position out of range", column("dec", lambda dec: dec - 90), REFUSED, "48 positions outside ra 0..360"),
    check("two splits at one place", column("ra", lambda ra: ra * 0 + 10), REFUSED, "pairs of objects within 1 arcsec "
          "lie in different splits"),
    train("no label at all", column("label", lambda label: label * 0 - 1), REFUSED, "no object of split train can be"),
    train("magnitudes that cannot be", column("magnitudes", lambda m: m * 1000), REFUSED, "magnitude",
          "--set", "data.target=magnitudes"),
    predict("channels in another order", attribute("channels", ["blue", "green", "red"]), REFUSED,
            r"was trained on another store than lies at toy"),
    train("not there", nothing, REFUSED, r"gone: no such store; make it with astrossl preprocess",
          "--set", "data.store=gone"),
]  # fmt: skip
