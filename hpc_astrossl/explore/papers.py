"""Tables and contact sheets of what was found in an embedding, made aside."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hpc_astrossl.explore.outliers import Outliers
from hpc_astrossl.explore.sheet import Pictures
from hpc_astrossl.explore.space import Index
from hpc_astrossl.files import rows_as_csv
from hpc_astrossl.outputs import Batch
from hpc_astrossl.store.embedding import Opened

SHOWN = 24  # objects on a contact sheet of outliers
NAMES = ("clusters.csv", "outliers.csv", "outliers.png")
BLOCK = 1 << 16  # lines of a table at a time
LONGEST = 100  # characters of an id in a file's name


@dataclass(frozen=True, kw_only=True)
class Papers:
    """What is written of an embedding below ``out``."""

    found: Opened
    pictures: Pictures
    batch: Batch
    out: Path

    def clusters(self, given: np.ndarray) -> None:
        """A line an object: its cluster and its label."""
        with self.batch.aside(self.out / "clusters.csv").open("wb") as stream:
            stream.write(rows_as_csv([("object_id", "cluster", "label")]).encode())
            for start in range(0, len(given), BLOCK):  # the text of many millions of lines is never whole in memory
                here = slice(start, start + BLOCK)
                columns = (self.found.object_id[here], given[here], labels_of(self.found, here))
                lines = zip(*(column.tolist() for column in columns), strict=True)
                stream.write(rows_as_csv(lines).encode())

    def outliers(self, scored: Outliers, count: int) -> list[str]:
        """The ``count`` strangest objects, and a sheet of the first; returns the ids of ten."""
        top, ids = scored.order[:count], self.found.object_id
        labels = dict(zip(top.tolist(), labels_of(self.found, top).tolist(), strict=True))
        lines = [
            (rank, ids[row], f"{scored.isolation[row]:.4f}", f"{scored.distance[row]:.4f}", labels[row])
            for rank, row in enumerate(top, start=1)
        ]
        self._table("outliers.csv", ("rank", "object_id", "isolation", "distance", "label"), lines)
        few = top[:SHOWN]
        words = [f"{scored.isolation[row]:.2f}  {scored.distance[row]:.1f}  {labels[row]}" for row in few]
        self._sheet("outliers.png", few, words, "Outliers: isolation, distance, label")
        return ids[top[:10]].tolist()

    def neighbours(self, row: int, index: Index, count: int) -> dict[str, Any]:
        """The ``count`` nearest of an object, as a table and a sheet; what is told of them."""
        distance, near = (array[0] for array in index.nearest(np.array([row]), count))
        name, ids, all_ = str(self.found.object_id[row]), self.found.object_id, np.array([row, *near])
        labels = dict(zip(all_.tolist(), labels_of(self.found, all_).tolist(), strict=True))
        lines = [(place + 1, ids[one], f"{far:.4f}", labels[one])
                 for place, (one, far) in enumerate(zip(near, distance, strict=True))]  # fmt: skip
        self._table(f"{stem(name)}.csv", ("rank", "object_id", "distance", "label"), lines)
        words = [str(labels[row]), *(f"{far:.1f}  {labels[one]}" for one, far in zip(near, distance, strict=True))]
        self._sheet(f"{stem(name)}.png", np.array([row, *near]), words, f"Nearest neighbours of {name}")
        return {"of": name, "nearest": ids[near].tolist()}

    def _table(self, name: str, head: Sequence[str], rows: Iterable[Sequence]) -> None:
        self.batch.write(self.out / name, rows_as_csv([head, *rows]).encode())

    def _sheet(self, name: str, rows: np.ndarray, words: list[str], title: str) -> None:
        drawn = self.pictures.sheet(self.found.object_id[rows], words, title)
        if drawn is not None:
            self.batch.write(self.out / name, drawn)


def stem(object_id: str) -> str:
    """The name of the files of an object's neighbours. Ids that would share one, or be too long, have a digest."""
    plain = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in object_id)
    told = plain if plain == object_id and len(plain.encode()) <= LONGEST else (
        f"{plain.encode()[:LONGEST].decode(errors='ignore')}-{hashlib.sha256(object_id.encode()).hexdigest()[:8]}"
    )  # fmt: skip
    return f"neighbours_{told}"


def labels_of(found: Opened, rows: np.ndarray | slice = slice(None)) -> np.ndarray:
    """Names of the labels of these rows, empty where there is none."""
    names, label = np.array([*found.class_names, ""]), found.label[rows]
    return names[np.where((label >= 0) & (label < len(found.class_names)), label, -1)]
