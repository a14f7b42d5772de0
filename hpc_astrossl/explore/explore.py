"""Explore an embedding and write what was found: CSV tables, contact sheets, and ``explore.json``."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hpc_astrossl import identity
from hpc_astrossl.errors import InputError
from hpc_astrossl.explore.clusters import cluster, scores
from hpc_astrossl.explore.outliers import Outliers, outliers
from hpc_astrossl.explore.sheet import Pictures
from hpc_astrossl.explore.show import Extra, Found, load, show
from hpc_astrossl.explore.space import Index, space
from hpc_astrossl.files import rows_as_csv, write_aside, written
from hpc_astrossl.store.embedding import Embedding, read

SHOWN = 24  # objects on a contact sheet of outliers
DEFAULT_CLUSTERS = 8  # of k-means where there are no labels to count


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What to look for: clusters by ``method``, ``outliers`` rows to list, neighbours of objects by id."""

    embedding: str
    out: str
    method: str = "kmeans"
    clusters: int | None = None  # None: as many as there are classes
    outliers: int = 100
    neighbours_of: tuple[str, ...] = ()
    neighbours: int = 10
    index: str = "auto"
    store: str | None = None  # None: the one that the embedding names
    page: Extra = field(default_factory=Extra)
    anyway: bool = False  # also where the store, or the run, that the embedding is of is another now


def explore(wish: Wish) -> dict[str, Any]:
    """Write everything below ``wish.out``; returns what ``explore.json`` holds. InputError for wrong wishes."""
    found, out = read(Path(wish.embedding)), Path(wish.out)
    rows, tables = _rows_of(found, wish.neighbours_of), load(wish.page, found.object_id)
    _require_finite(found, wish.embedding)
    made = space(found.features)
    index = Index(made.values, wish.index)
    place = wish.store or found.about.get("store")
    store = Path(place) if place else None
    note = identity.hold_embedding(found.about, wish.embedding, store, anyway=wish.anyway)
    pictures = Pictures(store)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--out {out}: cannot be written ({error.strerror})") from None
    clusters, given = _clusters(wish, found, made.values, out)
    scored = outliers(made.values, index)
    told: dict[str, Any] = {
        "wish": asdict(wish),
        "embedding": dict(found.about) | ({"note": note} if note else {}),
        "objects": len(found.object_id),
        "variance_kept": made.kept,
        "neighbours_by": index.about,
        "clusters": clusters,
        "outliers": _outliers(wish, found, scored, pictures, out),
        "neighbours": [_neighbours(wish, found, int(row), index, pictures, out) for row in rows],
        "pictures": "from the store" if pictures.store else f"none: {pictures.why}",
    }  # fmt: skip
    whole = Found(embedding=found, values=made.values, index=index, clusters=given, labels=_labels(found),
                  outliers=scored, pictures=pictures)  # fmt: skip
    told["page"] = show(whole, wish.page, tables, out)
    with written(out / "explore.json"):
        write_aside(out / "explore.json", (json.dumps(told, indent=1) + "\n").encode())
    return told


def _require_finite(found: Embedding, where: str) -> None:
    """InputError that names the objects whose features are no numbers: of images with such pixels, as a rule."""
    odd = ~np.isfinite(found.features).all(axis=1)
    if odd.any():
        raise InputError(
            f"{where}: features of {int(odd.sum()):,} objects are not finite, first "
            f"{found.object_id[odd][0]}; make the store again without them, embed it anew"
        )


def _rows_of(found: Embedding, ids: Sequence[str]) -> np.ndarray:
    row_of = {name: row for row, name in enumerate(found.object_id.tolist())} if ids else {}
    missing = [name for name in ids if name not in row_of]
    if missing:
        raise InputError(
            f"--neighbours-of {missing[0]}: no object of that id in the embedding; ids there look like "
            f"{found.object_id[0]}"
        )
    return np.array([row_of[name] for name in ids], dtype=np.int64)


def _clusters(wish: Wish, found: Embedding, values: np.ndarray, out: Path) -> tuple[dict[str, Any], np.ndarray]:
    """What is told of the clusters, and each object's."""
    count = len(np.unique(found.label[found.label >= 0])) if wish.clusters is None else wish.clusters
    if wish.clusters is None and count < 2:
        count = DEFAULT_CLUSTERS
    given = cluster(values, wish.method, count)
    _table(
        out / "clusters.csv",
        ("object_id", "cluster", "label"),
        zip(found.object_id, given, _labels(found), strict=True),
    )
    return {"method": wish.method, **scores(values, given, found.label)}, given


def _outliers(wish: Wish, found: Embedding, scored: Outliers, pictures: Pictures, out: Path) -> list:
    top, labels = scored.order[: wish.outliers], _labels(found)
    lines = [
        (rank, found.object_id[row], f"{scored.isolation[row]:.4f}", f"{scored.distance[row]:.4f}", labels[row])
        for rank, row in enumerate(top, start=1)
    ]
    _table(out / "outliers.csv", ("rank", "object_id", "isolation", "distance", "label"), lines)
    shown = top[:SHOWN]
    words = [f"{scored.isolation[row]:.2f}  {scored.distance[row]:.1f}  {labels[row]}" for row in shown]
    pictures.sheet(out / "outliers.png", found.object_id[shown], words, "Outliers: isolation, distance, label")
    return [str(found.object_id[row]) for row in top[:10]]


def _neighbours(wish: Wish, found: Embedding, row: int, index: Index, pictures: Pictures, out: Path) -> dict[str, Any]:
    distance, near = (array[0] for array in index.nearest(np.array([row]), wish.neighbours))
    name, labels = str(found.object_id[row]), _labels(found)
    stem = "neighbours_" + "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in name)
    lines = [(place + 1, found.object_id[one], f"{far:.4f}", labels[one])
             for place, (one, far) in enumerate(zip(near, distance, strict=True))]  # fmt: skip
    _table(out / f"{stem}.csv", ("rank", "object_id", "distance", "label"), lines)
    rows = np.array([row, *near])
    words = [str(labels[row]), *(f"{far:.1f}  {labels[one]}" for one, far in zip(near, distance, strict=True))]
    pictures.sheet(out / f"{stem}.png", found.object_id[rows], words, f"Nearest neighbours of {name}")
    return {"of": name, "nearest": [str(found.object_id[one]) for one in near]}


def _labels(found: Embedding) -> np.ndarray:
    """Names of the labels, empty where there is none."""
    names = np.array([*found.class_names, ""])
    return names[np.where((found.label >= 0) & (found.label < len(found.class_names)), found.label, -1)]


def _table(path: Path, head: Sequence[str], rows: Iterable[Sequence]) -> None:
    with written(path):
        write_aside(path, rows_as_csv([head, *rows]).encode())
