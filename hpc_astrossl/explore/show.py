"""What was found in an embedding, put on its page: positions, thumbnails, columns of the store and of other tables."""

import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hpc_astrossl.explore import page, thumbnails
from hpc_astrossl.explore.given import Extra, Given
from hpc_astrossl.explore.layout import layout, neighbours, thinned
from hpc_astrossl.explore.outliers import Outliers
from hpc_astrossl.explore.papers import labels_of
from hpc_astrossl.explore.sheet import Pictures
from hpc_astrossl.explore.space import SEED, Index
from hpc_astrossl.outputs import Batch
from hpc_astrossl.store.display import rule
from hpc_astrossl.store.embedding import Opened
from hpc_astrossl.store.sweep import repeats

PAGE = "explore.html"
STRETCH = 1 << 16  # ids at a time
NEAR, RANKED = 12, 300  # neighbours an object; outliers on their sheet, and objects drawn at random on theirs


@dataclass(frozen=True, kw_only=True)
class Found:
    """An embedding and what was found in it, for all of its N objects."""

    embedding: Opened
    values: np.ndarray
    index: Index
    clusters: np.ndarray
    outliers: Outliers
    pictures: Pictures


def show(found: Found, extra: Extra, given: Given, batch: Batch) -> tuple[dict[str, Any], list[Path]]:
    """Make the page and its thumbnails aside; returns what ``explore.json`` tells of them, and folders that stay."""
    ids, upnext, out = found.embedding.object_id, given.upnext, batch.outputs.record.parent
    top = found.outliers.order[:RANKED]
    sample = np.random.default_rng(SEED).permutation(len(ids))[:RANKED]
    rows = thinned(found.outliers.distance, np.concatenate([top, upnext, sample]), extra.most)
    whole = len(rows) == len(ids)
    index = found.index if whole else Index(found.values[rows])
    laid = layout(found.values[rows], index, extra.map)
    store = found.pictures.store
    place = np.full(len(ids), -1)
    place[rows] = np.arange(len(rows))
    ranked = {name: some[some >= 0] for name, some in
              {"outliers": place[top], "upnext": place[upnext], "sample": place[sample]}.items()}  # fmt: skip
    atlases, keep = _thumbnails(found, rows, batch)
    whole = page.Shown(
        key=_digest(str(found.embedding.about.get("run")), ids),
        title=str(found.embedding.about.get("run") or "embedding"),
        ids=ids[rows].tolist(),
        of=len(ids),
        points=laid.points,
        near=neighbours(index, NEAR)[0],
        **ranked,
        columns=_named(_own(found, rows), given, rows),
        classes=found.embedding.class_names,
        sky=_sky(found, rows),
        pictures=atlases,
        notes=[*_notes(found, laid.words, len(rows)), *given.notes],
    )
    if store is not None:
        store.hold()
    batch.write(out / PAGE, page.text(whole).encode())
    told = {"file": PAGE, "drawn": len(rows), "map": laid.words, "neighbours_by": index.about}
    if atlases:
        told |= {"thumbnails": atlases.folder, "bytes_an_object": atlases.bytes_each, "colours": rule(store)}
    return told, keep


def _digest(head: str, ids: np.ndarray) -> str:
    """SHA-256 of lines: one of text, then the ids; a stretch of them at a time."""
    found = hashlib.sha256(head.encode())
    for start in range(0, len(ids), STRETCH):
        found.update("".join(f"\n{name}" for name in ids[start : start + STRETCH].tolist()).encode())
    return found.hexdigest()


def _named(own: dict[str, np.ndarray], given: Given, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Our columns and those of tables; of several that are called the same, the later ones name their files."""
    columns = dict(own)
    for name, file, values in given.columns:
        names = itertools.chain([name, f"{name} ({file})"], (f"{name} ({file}, {i})" for i in itertools.count(2)))
        columns[next(one for one in names if one not in columns)] = values[rows]
    return columns


def _thumbnails(found: Found, rows: np.ndarray, batch: Batch) -> tuple[thumbnails.Atlases | None, list[Path]]:
    """Atlases of the objects drawn, and their folder where an earlier run made them of the same store and objects."""
    store = found.pictures.store
    if store is None:
        return None, []
    ids, out = found.embedding.object_id[rows], batch.outputs.record.parent
    told = _digest(f"{store.identity}\n{rule(store)}", ids)
    folder = out / f"thumbnails-{told[:12]}"
    batch.outputs.check([folder], batch.option)
    if known := thumbnails.known(folder, len(rows)):
        return known, [folder]
    return thumbnails.write(store, found.pictures.rows(ids), folder, batch.aside(folder)), []


def _own(found: Found, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Columns, of these rows, of the embedding, of what was found, and of the store: magnitudes where it has them."""
    own = found.embedding
    labelled = ((own.label >= 0) & (own.label < len(own.class_names))).any()
    labels = {"label": labels_of(own, rows)} if labelled else {}
    clusters = np.array([f"cluster {one}" if one >= 0 else "" for one in range(-1, found.clusters.max() + 1)])
    columns = labels | {
        "cluster": clusters[found.clusters[rows] + 1],
        "outlier rank": _ranks(found.outliers.order)[rows],
        "isolation": found.outliers.isolation[rows],
        "distance to neighbours": found.outliers.distance[rows],
    }
    store = found.pictures.store
    if store is not None and store.info.bands:
        places = found.pictures.rows(own.object_id[rows])
        magnitudes = np.where(places[:, None] >= 0, store.table["magnitudes"][places], np.nan)
        columns |= {f"magnitude {band}": magnitudes[:, i] for i, band in enumerate(store.info.bands)}
    return columns


def _ranks(order: np.ndarray) -> np.ndarray:
    ranks = np.empty(len(order))
    ranks[order] = np.arange(1, len(order) + 1)
    return ranks


def _sky(found: Found, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    store = found.pictures.store
    if store is None:
        return None
    places = found.pictures.rows(found.embedding.object_id[rows])
    ra, dec = (np.where(places >= 0, store.table[name][places], np.nan) for name in ("ra", "dec"))
    return (ra, dec) if np.isfinite(ra).any() else None


def _notes(found: Found, words: str, drawn: int) -> Sequence[str]:
    """What a reader must know, in sentences."""
    of = len(found.embedding.object_id)
    notes = [f"The map: {words}, of standardised features and up to 50 principal components. Distances on it are not "
             "those of the features; neighbours and outliers are found among the components."]  # fmt: skip
    if drawn < of:
        notes.append(f"{drawn:,} of {of:,} objects are drawn: crowds are thinned, an object's chance grows with "
                     "its distance to its ten nearest. Neighbours are those among the objects drawn.")  # fmt: skip
    if twice := repeats({"object_id": found.embedding.object_id}, of):
        notes.append(f"{twice:,} objects have the id of another: a label given to one is given to both.")
    store = found.pictures.store
    notes.append(f"Cutouts: {rule(store)}." if store else f"No cutouts: {found.pictures.why}.")
    return notes
