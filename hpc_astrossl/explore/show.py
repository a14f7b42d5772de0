"""What was found in an embedding, put on its page: positions, thumbnails, columns of the store and of other tables."""

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hpc_astrossl import locks
from hpc_astrossl.errors import InputError
from hpc_astrossl.explore import page, thumbnails
from hpc_astrossl.explore.layout import MOST, layout, neighbours, thinned
from hpc_astrossl.explore.outliers import Outliers
from hpc_astrossl.explore.sheet import Pictures
from hpc_astrossl.explore.space import SEED, Index
from hpc_astrossl.store.columns import read_table
from hpc_astrossl.store.display import rule
from hpc_astrossl.store.embedding import Embedding

NEAR, RANKED = 12, 300  # neighbours an object; outliers on their sheet, and objects drawn at random on theirs


@dataclass(frozen=True, kw_only=True)
class Found:
    """An embedding and what was found in it, for all of its N objects."""

    embedding: Embedding
    values: np.ndarray
    index: Index
    clusters: np.ndarray
    labels: np.ndarray
    outliers: Outliers
    pictures: Pictures


@dataclass(frozen=True, kw_only=True)
class Extra:
    """What the page shows besides: ``tables`` to colour by, a ranked list ``upnext``, the ``map``'s method."""

    tables: tuple[str, ...] = ()
    upnext: str | None = None
    map: str = "auto"
    most: int = MOST


def load(extra: Extra, ids: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """(columns of all tables, rows of the list), by the embedding's rows. InputError when they fit no object."""
    columns: dict[str, np.ndarray] = {}
    order = np.argsort(ids, kind="stable")
    for name in extra.tables:
        table = read_table(Path(name))
        rows = _rows(table.pop("object_id"), ids, order, name)
        for key, values in table.items():
            text = values.dtype.kind == "U"
            made = np.full(len(ids), "", dtype=values.dtype) if text else np.full(len(ids), np.nan)
            made[rows[rows >= 0]] = values[rows >= 0]
            columns[f"{key} ({Path(name).name})" if key in columns else key] = made
    if extra.upnext is None:
        return columns, np.empty(0, dtype=np.int64)
    table = read_table(Path(extra.upnext))
    if "rank" not in table:
        raise InputError(f"{extra.upnext}: no column rank; --next takes the next.csv that classify writes")
    upnext = _rows(table["object_id"], ids, order, extra.upnext)
    return columns, upnext[upnext >= 0]


def _rows(wanted: np.ndarray, ids: np.ndarray, order: np.ndarray, name: str) -> np.ndarray:
    """Rows of these objects, −1 for one that is not there."""
    if not len(wanted):
        raise InputError(f"{name}: no objects in it")
    distinct, counts = np.unique(wanted, return_counts=True)
    if len(distinct) < len(wanted):
        raise InputError(
            f"{name}: {distinct[counts.argmax()]} is there {counts.max()} times; leave one row for each object"
        )
    place = np.minimum(np.searchsorted(ids, wanted, sorter=order), len(ids) - 1)
    rows = np.where(ids[order[place]] == wanted, order[place], -1)
    if (rows < 0).all():
        raise InputError(f"{name}: none of its {len(wanted):,} objects is in the embedding; ids there look like "
                         f"{ids[0]}, here like {wanted[0]}")  # fmt: skip
    return rows


def show(found: Found, extra: Extra, tables: tuple[dict[str, np.ndarray], np.ndarray], out: Path) -> dict[str, Any]:
    """Write the page and its thumbnails below ``out``; returns what ``explore.json`` tells of them."""
    ids, (columns, upnext) = found.embedding.object_id, tables
    top = found.outliers.order[:RANKED]
    sample = np.random.default_rng(SEED).permutation(len(ids))[:RANKED]
    rows = thinned(found.outliers.distance, np.concatenate([top, upnext, sample]), extra.most)
    whole = len(rows) == len(ids)
    index = found.index if whole else Index(found.values[rows])
    laid = layout(found.values[rows], index, extra.map)
    store = found.pictures.store
    with locks.locked(out / ".explore.lock"):
        atlases, folder = _thumbnails(found, rows, out)
        place = np.full(len(ids), -1)
        place[rows] = np.arange(len(rows))
        ranked = {name: some[some >= 0] for name, some in
                  {"outliers": place[top], "upnext": place[upnext], "sample": place[sample]}.items()}  # fmt: skip
        shown = page.Shown(
            key=hashlib.sha256("\n".join([str(found.embedding.about.get("run")), *ids.tolist()]).encode()).hexdigest(),
            title=str(found.embedding.about.get("run") or "embedding"),
            ids=ids[rows].tolist(),
            of=len(ids),
            points=laid.points,
            near=neighbours(index, NEAR)[0],
            **ranked,
            columns={name: values[rows] for name, values in (_own(found) | columns).items()},
            classes=found.embedding.class_names,
            sky=_sky(found, rows),
            pictures=atlases,
            notes=_notes(found, laid.words, len(rows)),
        )
        if store is not None:
            store.hold()
        path = page.write(out, shown)
        for old in out.glob("thumbnails-*"):
            if old != folder:
                shutil.rmtree(old, ignore_errors=True)
    told = {"file": path.name, "drawn": len(rows), "map": laid.words, "neighbours_by": index.about}
    if atlases:
        told |= {"thumbnails": atlases.folder, "bytes_an_object": atlases.bytes_each, "colours": rule(store)}
    return told


def _thumbnails(found: Found, rows: np.ndarray, out: Path) -> tuple[thumbnails.Atlases | None, Path | None]:
    """Atlases of the objects drawn; those that an earlier run made of the same store and objects are kept."""
    store = found.pictures.store
    if store is None:
        return None, None
    ids = found.embedding.object_id[rows]
    told = "\n".join([store.identity, *ids.tolist()])
    folder = out / f"thumbnails-{hashlib.sha256(told.encode()).hexdigest()[:12]}"
    return thumbnails.known(folder, len(rows)) or thumbnails.write(store, found.pictures.rows(ids), folder), folder


def _own(found: Found) -> dict[str, np.ndarray]:
    """Columns of the embedding, of what was found, and of the store: magnitudes where it has them."""
    labels = {"label": found.labels} if (found.labels != "").any() else {}
    clusters = np.array([f"cluster {one}" if one >= 0 else "" for one in range(-1, found.clusters.max() + 1)])
    columns = labels | {
        "cluster": clusters[found.clusters + 1],
        "outlier rank": _ranks(found.outliers.order),
        "isolation": found.outliers.isolation,
        "distance to neighbours": found.outliers.distance,
    }
    store = found.pictures.store
    if store is not None and store.info.bands:
        rows = found.pictures.rows(found.embedding.object_id)
        magnitudes = np.where(rows[:, None] >= 0, store.table["magnitudes"][rows], np.nan)
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
    store = found.pictures.store
    notes.append(f"Cutouts: {rule(store)}." if store else f"No cutouts: {found.pictures.why}.")
    return notes
