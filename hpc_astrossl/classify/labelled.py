"""A store of the labelled objects alone, to fine-tune on: images and magnitudes as they are, and your classes."""

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from hpc_astrossl import provenance
from hpc_astrossl.errors import InputError
from hpc_astrossl.ids import folded
from hpc_astrossl.labels import read_labels
from hpc_astrossl.store import SPLITS, Store, abandon, create, open_store
from hpc_astrossl.store.check import NEAR
from hpc_astrossl.store.layout import REJECTED, TABLE
from hpc_astrossl.terminal import quoted, shown

SHARES, SEED = (0.6, 0.2, 0.2), 0  # of train, validation and test within each class
BLOCK = 1024  # images at a time
LEAST = 5  # labels a class, so that each split has one


def make(labels: Path, of: Path, out: Path) -> tuple[dict[str, Any], list[str]]:
    """Write the store ``out`` of the objects of ``of`` that are labelled; returns its counts, and ids without an image.

    Splits are drawn within each class, seeded; objects of one place or one picture share one. InputError when it is
    there, no object or class is left, or a class has too few labels for three splits.
    """
    if out.suffix != ".zarr" or out.exists():
        raise InputError(f"--out {out}: {'is there already; remove it first' if out.exists() else 'must end in .zarr'}")
    given, store = read_labels(labels), open_store(of)
    ids, usable = folded(store.table["object_id"]), store.table["split"] != REJECTED
    rows = np.flatnonzero(np.isin(ids, np.array(list(given), dtype=str)) & usable)
    if not len(rows):
        raise InputError(f"{labels}: none of its {len(given):,} objects has an image in {of}; ids there look like "
                         f"{shown(ids[0])}, in the labels like {shown(next(iter(given)))}")  # fmt: skip
    called = np.array([given[one].name for one in ids[rows].tolist()])
    names = tuple(np.unique(called).tolist())
    label = np.searchsorted(np.array(names), called)
    _check(labels, names, label)
    split = together(divide(label), _groups(store, rows))
    _check_splits(labels, names, label, split)
    counts = {
        "kept": len(rows),
        "rejected": {"not in the store": len(given) - len(rows)} if len(given) > len(rows) else {},
        "classes": {name: int((label == i).sum()) for i, name in enumerate(names)},
        "splits": {name: int((split == i).sum()) for i, name in enumerate(SPLITS)},
    }
    made_of = {"labels": {"file": labels.name, "sha256": provenance.sha256(labels)},
               "store": {"name": store.info.name, "manifest_sha256": store.identity}}  # fmt: skip
    try:
        _write(store, rows, out, {"label": label.astype(np.int16), "split": split}, names, counts, made_of)
    except BaseException:
        abandon(out)
        raise
    there = set(ids[rows].tolist())
    return counts, [one for one in given if one not in there]


def _check(labels: Path, names: tuple[str, ...], label: np.ndarray) -> None:
    if len(names) < 2:
        raise InputError(f"{labels}: all labels are {quoted(names[0])}; a classifier needs two classes or more: label "
                         "some others")  # fmt: skip
    for name, count in zip(names, np.bincount(label).tolist(), strict=True):
        if count < LEAST:
            many = f"{count} label{'s' * (count > 1)}"
            raise InputError(f"{labels}: class {quoted(name)} has {many} in the store, {LEAST} are needed for "
                             "training, validation and test; label more, or take its lines out")  # fmt: skip


def divide(label: np.ndarray) -> np.ndarray:
    """Split codes, uint8 (N,): shares within each class by a seeded draw, at least one object each."""
    split = np.zeros(len(label), dtype=np.uint8)
    source = np.random.default_rng(SEED)
    for one in np.unique(label):
        rows = source.permutation(np.flatnonzero(label == one))
        held = max(1, round(SHARES[1] * len(rows)))
        split[rows[:held]], split[rows[held : 2 * held]] = 1, 2
    return split


def _groups(store: Store, rows: np.ndarray) -> np.ndarray:
    """A number for each of some rows, the same for those that are joined by equal pictures or by places within NEAR."""
    pictures = [hashlib.sha256(image.tobytes()).digest() for start in range(0, len(rows), BLOCK)
                for image in store.images(rows[start : start + BLOCK])]  # fmt: skip
    _, first, at = np.unique(pictures, return_index=True, return_inverse=True)
    ra, dec = (np.radians(store.table[name][rows]) for name in ("ra", "dec"))
    placed = np.flatnonzero(np.isfinite(ra) & np.isfinite(dec))
    points = np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=1)[placed]
    near = placed[cKDTree(points).query_pairs(2 * np.sin(np.radians(NEAR / 3600) / 2), output_type="ndarray")]
    links = np.concatenate([np.stack([np.arange(len(rows)), first[at]], axis=1), near.reshape(-1, 2)])
    graph = coo_array((np.ones(len(links), dtype=bool), tuple(links.T)), shape=(len(rows), len(rows)))
    return connected_components(graph, directed=False)[1]


def together(split: np.ndarray, group: np.ndarray) -> np.ndarray:
    """The splits, of which all members of a group have the highest that one of them has."""
    highest = np.zeros(group.max() + 1, dtype=split.dtype)
    np.maximum.at(highest, group, split)
    return highest[group]


def _check_splits(labels: Path, names: tuple[str, ...], label: np.ndarray, split: np.ndarray) -> None:
    for number, name in enumerate(names):
        for code, part in enumerate(SPLITS):
            if not ((label == number) & (split == code)).any():
                raise InputError(f"{labels}: class {quoted(name)} has no object left for {part}: several of its labels "
                                 "are of one picture or place, and share a split; label others")  # fmt: skip


def _write(store: Store, rows: np.ndarray, out: Path, own: dict, names: tuple, counts: dict, made_of: dict) -> None:
    writer = create(out, shape=(len(rows), *store.image_shape), dtype=store.dtype, bands=len(store.info.bands))
    for start, stop in writer.shards:
        writer.write_images(start, store.images(rows[start:stop]))
    kept = [name for name in TABLE if name in store.table and name not in own]
    writer.write_table({name: store.table[name][rows] for name in kept} | own)
    store.hold()
    code = {"code": provenance.code(), "date": provenance.now(), "made_of": made_of}
    writer.finish(
        dataclasses.replace(
            store.info,
            name=out.stem,
            class_names=names,
            counts=counts,
            recipe={},
            provenance=code,
            statistics=writer.statistics(own["split"]),
        )
    )
