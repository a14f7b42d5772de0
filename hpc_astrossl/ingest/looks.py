"""What only images tell, as far as the selection must know it before a store is cut."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hpc_astrossl.cutting.badfile import RecipeFault
from hpc_astrossl.cutting.cutouts import Source, Unit, open_source
from hpc_astrossl.cutting.geometry import over_edge
from hpc_astrossl.cutting.shards import reason_of_unit
from hpc_astrossl.errors import InputError
from hpc_astrossl.objects import Objects, subset
from hpc_astrossl.specs.recipe import Recipe, StoreSpec

THREADS = 4  # at most, that look at a time
PICTURE = 1 << 30  # bytes, about, of a whole picture of 11000 × 11000 pixels while it is looked at


@dataclass(frozen=True, kw_only=True)
class Question:
    """Whether some objects, of one field or a few with files of their own, can be cut from images of a kind."""

    images: str  # rgb or bands
    objects: Objects


Answer = Callable[[list[Question], Callable[[Question], list[str]]], list[list[str]]]


def lookers(recipe: Recipe, workers: int, memory: int) -> int:
    """How many threads look at a time: of ``workers``, and where each holds a whole picture, no more than go into
    ``memory`` bytes beside what the selection itself takes, for which a picture's room is left."""
    most = min(workers, THREADS)
    whole = recipe.fields is not None and recipe.fields.rgb is not None
    return max(1, min(most, memory // PICTURE - 1)) if whole else most


class Looks:
    """Which cutouts would reach over the edge of their field, and which of some few could not be used; each field's
    size is read once, each object cut once. ``seen`` are the images that were asked. ``answer`` has questions answered
    by a function, in order, by so many ``threads`` unless told otherwise."""

    def __init__(self, recipe: Recipe, source: Path, objects: Objects, threads: int = 1, answer: Answer | None = None):
        self._place, self._objects = (recipe, source), objects
        self._threads, self._answer = threads, answer or self._in_threads
        self._known: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        self._useless: dict[str, dict[int, str]] = {}
        self.seen: set[Path] = set()

    def outside(self, store: StoreSpec, rows: np.ndarray) -> np.ndarray:
        """True for those of ``rows`` whose cutout is over the edge; bool, N of the catalogue."""
        (recipe, source), count = self._place, len(self._objects)
        if recipe.fields is None:
            return np.zeros(count, dtype=bool)
        asked, outside = self._known.setdefault(store.images, (np.zeros(count, bool), np.zeros(count, bool)))
        new = rows[~asked[rows]]
        if len(new):
            cutter = open_source(recipe, source, self._objects, store.images)
            outside |= over_edge(recipe, cutter, self._objects, new)
            self.seen |= {cutter.first(unit)[0] for unit in cutter.units(new)}
            asked[new] = True
        return outside

    def useless(self, store: StoreSpec, rows: np.ndarray, others: np.ndarray) -> np.ndarray:
        """Why the cutouts of ``rows`` cannot be used, "" where they can, in the words of the cutting; of what stops the
        cutting nothing is said here. ``others`` in the pictures that must be read whole for these are looked at, too.
        """
        known = self._useless.setdefault(store.images, {})
        new = np.array([row for row in rows.tolist() if row not in known], dtype=np.int64)
        if len(new):
            new = np.union1d(new, self._beside(store, new, others))
            known |= dict(zip(new.tolist(), self._look(store, new), strict=True))
        return np.array([known[row] for row in rows.tolist()], dtype=object)

    def _beside(self, store: StoreSpec, rows: np.ndarray, others: np.ndarray) -> np.ndarray:
        spec = self._place[0].fields
        if spec is None or store.images == "bands" or spec.lupton is not None:
            return rows
        return others[np.isin(self._objects.field[others], np.unique(self._objects.field[rows]))]

    def _look(self, store: StoreSpec, rows: np.ndarray) -> list[str]:
        recipe, source = self._place
        some, found = subset(self._objects, rows), np.full(len(rows), "", dtype=object)
        cutter = open_source(recipe, source, some, store.images)
        units = cutter.units(np.arange(len(rows)))
        self.seen |= {path for unit in units for path in cutter.files(unit)}
        questions = [Question(images=store.images, objects=subset(some, unit.rows)) for unit in units]
        threads = max(1, self._threads // len(questions))
        answers = self._answer(questions, lambda question: look(recipe, source, question, threads))
        for unit, reasons in zip(units, answers, strict=True):
            found[unit.rows] = reasons
        return found.tolist()

    def _in_threads(self, questions: list[Question], look: Callable[[Question], list[str]]) -> list[list[str]]:
        with ThreadPoolExecutor(self._threads) as pool:
            return list(pool.map(look, questions))


def look(recipe: Recipe, source: Path, question: Question, threads: int = 1) -> list[str]:
    """The reason of each object of a question, "" for none."""
    hasty, alone = _hasty(recipe, question.images), _of_picture(recipe, question.images)
    found = _reasons(hasty, source, question, threads, alone=alone)
    if not any(found) or (hasty is recipe and not alone):
        return found
    return _reasons(recipe, source, question, threads)


def _of_picture(recipe: Recipe, images: str) -> bool:
    """Whether coadds only lie beside what is cut: holding the picture against them only ever stops the cutting, and is
    done then."""
    return images == "rgb" and recipe.fields is not None and recipe.fields.lupton is None


def _hasty(recipe: Recipe, images: str) -> Recipe:
    """The recipe without what only ever stops the cutting, and is found out then: sums over whole files where damaged
    ones are not rejected. It tells at little cost which cutouts are good."""
    spec = recipe.fields
    if spec is None or spec.bands is None or _of_picture(recipe, images):
        return recipe
    if spec.unreadable == "reject" or not spec.checksum:
        return recipe
    return replace(recipe, fields=replace(spec, checksum=False))


def _reasons(recipe: Recipe, source: Path, question: Question, threads: int, alone: bool = False) -> list[str]:
    cutter = open_source(recipe, source, question.objects, question.images, threads, alone=alone)
    found = np.full(len(question.objects), "", dtype=object)
    for unit in cutter.units(np.arange(len(found))):
        found[unit.rows] = _of_unit(recipe, cutter, unit)
    return found.tolist()


def _of_unit(recipe: Recipe, cutter: Source, unit: Unit) -> np.ndarray | str:
    try:
        return cutter.cut(unit, _Nowhere() if cutter.streams else _room(cutter, unit))
    except RecipeFault:
        return ""
    except InputError as error:
        return reason_of_unit(error, unit) if (recipe.images or recipe.files).unreadable == "reject" else ""


def _room(cutter: Source, unit: Unit) -> np.ndarray:
    return np.zeros((len(unit.rows), *cutter.row_shape(unit.rows)), cutter.dtype)


class _Nowhere:
    """Takes cutouts of which only the reasons are wanted."""

    def put(self, rows: np.ndarray, images: np.ndarray) -> None:
        pass

    def put_planes(self, rows: np.ndarray, channel: int, planes: np.ndarray) -> None:
        pass
