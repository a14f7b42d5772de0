"""Explore an embedding and write what was found: CSV tables, contact sheets, the page, and ``explore.json``."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hpc_astrossl import identity
from hpc_astrossl.errors import InputError
from hpc_astrossl.explore.clusters import LEARNT_FROM, cluster, scores
from hpc_astrossl.explore.given import Extra, Given, load
from hpc_astrossl.explore.outliers import outliers
from hpc_astrossl.explore.papers import NAMES, Papers, stem
from hpc_astrossl.explore.sheet import Pictures
from hpc_astrossl.explore.show import Found, show
from hpc_astrossl.explore.space import LEAST, Index, space
from hpc_astrossl.ids import folded, same
from hpc_astrossl.outputs import Files, Outputs
from hpc_astrossl.store.embedding import Opened, open_embedding
from hpc_astrossl.terminal import shown

FORMAT = "astrossl-explored"
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

    @property
    def option(self) -> str:
        """How messages name where it is written."""
        return f"--out {self.out}"


def explore(wish: Wish) -> dict[str, Any]:
    """Write everything below ``wish.out``; returns what ``explore.json`` holds. InputError for wrong wishes."""
    found, out = open_embedding(Path(wish.embedding)), Path(wish.out)
    _require_finite(found, wish.embedding)
    if len(found.object_id) < LEAST:
        raise InputError(f"{wish.embedding}: the embedding has {len(found.object_id)} objects, {LEAST} are needed")
    rows = _rows_of(found, wish.neighbours_of)
    beside = Outputs(verb="explore", record=out / "explore.json", format=FORMAT, older=_older)
    near = [f"{stem(one)}.{suffix}" for one in wish.neighbours_of for suffix in ("csv", "png")]
    beside.check([out / name for name in (*NAMES, "explore.html", *near)], wish.option)
    given = load(wish.page, found.object_id, Path(wish.embedding), anyway=wish.anyway)
    place = wish.store or found.about.get("store")
    store = Path(place) if place else None
    note = identity.hold_embedding(found.about, wish.embedding, store, anyway=wish.anyway)
    told = {"wish": asdict(wish), "embedding": dict(found.about) | ({"note": note} if note else {})}
    try:
        out.mkdir(parents=True, exist_ok=True)
        with beside.made(wish.option) as batch:
            papers = Papers(found=found, pictures=Pictures(store), batch=batch, out=out)
            looked, keep = _looked(wish, papers, rows, given)
            found.hold()
            return batch.put(told | looked, keep)
    except OSError as error:
        raise InputError(f"{wish.option}: cannot be written ({error.strerror or error}); make room, or choose another "
                         "place, and run the same command again") from None  # fmt: skip


def _older(told: Mapping[str, Any]) -> Files:
    """The files of a record of before, which did not list them."""
    if "format" in told or not {"wish", "embedding", "outliers", "neighbours_by"} <= told.keys():
        return {}
    page = told["page"] if isinstance(told.get("page"), dict) else {}
    folders = [page["thumbnails"]] if isinstance(page.get("thumbnails"), str) else []
    near = [one["of"] for one in told.get("neighbours", []) if isinstance(one, dict) and isinstance(one.get("of"), str)]
    sheets = [f"{stem(one)}.{suffix}" for one in near for suffix in ("csv", "png")]
    return dict.fromkeys([*NAMES, "explore.html", *folders, *sheets])


def _looked(wish: Wish, papers: Papers, rows: np.ndarray, given: Given) -> tuple[dict[str, Any], list[Path]]:
    """Look, and make all files aside; what there is to tell, and folders of before that go on serving."""
    found, made = papers.found, space(papers.found)
    index = Index(made.values, wish.index)
    clusters = cluster(made.values, wish.method, _count(wish, found))
    papers.clusters(clusters)
    scored = outliers(made.values, index)
    told = {
        "objects": len(found.object_id),
        "variance_kept": made.kept,
        "components": made.values.shape[1],
        "approximate": _approximate(index, clusters, wish.method),
        "neighbours_by": index.about,
        "clusters": {"method": wish.method, **scores(made.values, clusters, found.label)},
        "outliers": papers.outliers(scored, wish.outliers),
        "neighbours": [papers.neighbours(int(row), index, wish.neighbours) for row in rows],
        "pictures": "from the store" if papers.pictures.store else f"none: {papers.pictures.why}",
    }
    whole = Found(embedding=found, values=made.values, index=index, clusters=clusters,
                  outliers=scored, pictures=papers.pictures)  # fmt: skip
    page, keep = show(whole, wish.page, given, papers.batch)
    return told | {"page": page}, keep


def _count(wish: Wish, found: Opened) -> int:
    """Clusters of k-means: as many as are wished, else as there are classes, where there are some."""
    if wish.clusters is not None:
        return wish.clusters
    classes = len(np.unique(found.label[found.label >= 0]))
    return min(classes if classes > 1 else DEFAULT_CLUSTERS, len(found.label) - 1)


def _approximate(index: Index, clusters: np.ndarray, method: str) -> list[str]:
    """What is not exact, in words: nothing of few objects."""
    found = [f"neighbours and distances of outliers: {index.about}"] if index.about.startswith("approximate") else []
    if method == "kmeans" and len(clusters) > LEARNT_FROM:
        found.append(f"clusters: the nearest of centres that k-means finds of {LEARNT_FROM:,} objects")
    return found


def _require_finite(found: Opened, where: str) -> None:
    """InputError that names the objects whose features are no numbers: of images with such pixels, as a rule."""
    odd = np.concatenate([~np.isfinite(block).all(axis=1) for _, block in found.blocks()] or [np.empty(0, bool)])
    if odd.any():
        raise InputError(
            f"{where}: features of {int(odd.sum()):,} objects are not finite, first {shown(found.object_id[odd][0])}; "
            "make the store again without them, embed it anew"
        )


def _rows_of(found: Opened, ids: Sequence[str]) -> np.ndarray:
    row_of = {name: row for row, name in enumerate(folded(found.object_id).tolist())} if ids else {}
    missing = [name for name in ids if same(name) not in row_of]
    if missing:
        raise InputError(
            f"--neighbours-of {shown(missing[0])}: no object of that id in the embedding; ids there look like "
            f"{shown(found.object_id[0])}"
        )
    return np.array([row_of[name] for name in dict.fromkeys(map(same, ids))], dtype=np.int64)
