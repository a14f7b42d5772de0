"""Every object's answer: one pass through the embedding, probabilities and distances in memory."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from hpc_astrossl.classify.models import Model, softmax
from hpc_astrossl.classify.space import Nearness, Scaling
from hpc_astrossl.classify.truth import Truth
from hpc_astrossl.classify.upnext import candidates, choose, margins
from hpc_astrossl.store.embedding import Opened

PART_ROWS = 65_536


@dataclass(frozen=True, kw_only=True)
class Ready:
    """A classifier ready to answer: standardises, gives logits, divides them by ``temperature``."""

    model: Model
    scaling: Scaling
    temperature: float
    nearness: Nearness


@dataclass(frozen=True, kw_only=True)
class Answers:
    """Of all N objects: ``chances`` (N × classes), ``distance`` to the nearest label, ``places`` (N × components)."""

    chances: np.ndarray
    distance: np.ndarray
    places: np.ndarray
    limit: float
    truth: Truth

    @property
    def told(self) -> np.ndarray:
        """Class numbers, (N,)."""
        return self.chances.argmax(axis=1)

    @property
    def unlike(self) -> np.ndarray:
        """Whether an object is farther from every label than the limit, (N,)."""
        return self.distance > self.limit

    def upnext(self, count: int) -> np.ndarray:
        """Rows of unlabelled objects to label next, in that order."""
        margin = margins(self.chances)
        allowed = np.ones(len(margin), dtype=bool)
        allowed[self.truth.rows] = False
        rows = candidates(margin, allowed, count)
        return rows[choose(self.places[rows].astype(np.float32), margin[rows], count)]

    def parts(self, found: Opened) -> Iterator[dict[str, np.ndarray]]:
        """The table, some rows at a time: id, class, a probability a class, distance, unlike, label where known."""
        names = np.array([*self.truth.names, ""])
        label = np.full(len(self.distance), len(names) - 1)
        label[self.truth.rows] = self.truth.truth
        told, unlike = self.told, self.unlike.astype(np.uint8)
        for start in range(0, len(told), PART_ROWS):
            rows = slice(start, start + PART_ROWS)
            chances = {f"p_{name}": self.chances[rows, i] for i, name in enumerate(self.truth.names)}
            yield {"object_id": found.object_id[rows], "class": names[told[rows]], **chances,
                   "distance": self.distance[rows], "unlike": unlike[rows], "label": names[label[rows]]}  # fmt: skip


def answer(found: Opened, ready: Ready, truth: Truth) -> Answers:
    """Answer for every object of the embedding."""
    chances = np.empty((len(found), len(truth.names)), dtype=np.float32)
    distance = np.empty(len(found), dtype=np.float32)
    places = np.empty((len(found), ready.nearness.labels.shape[1]), dtype=np.float16)  # for next.csv alone
    for start, block in found.blocks():
        rows = slice(start, start + len(block))
        values = ready.scaling.of(block)
        chances[rows] = softmax(ready.model.logits(values) / ready.temperature)
        reduced = ready.nearness.reduced(values)
        distance[rows] = ready.nearness.distance(reduced)
        places[rows] = np.clip(reduced, -6e4, 6e4)
    distance[truth.rows] = ready.nearness.own
    return Answers(chances=chances, distance=distance, places=places, limit=ready.nearness.limit, truth=truth)
