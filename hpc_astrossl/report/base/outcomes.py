"""What the runs of a cell said of the same objects, side by side: the ground of tests, calibration and confusion."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hpc_astrossl.errors import InputError
from hpc_astrossl.report.base import arrays
from hpc_astrossl.report.base.arrays import Predictions
from hpc_astrossl.report.base.cells import Cell
from hpc_astrossl.report.base.records import Run


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One cell on one split, objects ordered by id.

    ``object_id`` (N text), ``truth`` (N), ``said`` (S × N, the class with the largest probability), ``sure`` (S × N,
    that probability), ``seeds`` (S, ascending).
    """

    object_id: np.ndarray
    truth: np.ndarray
    said: np.ndarray
    sure: np.ndarray
    seeds: tuple[int, ...]
    classes: int

    def of_seeds(self, seeds: list[int]) -> np.ndarray:
        """``said`` of these seeds alone, in their order."""
        return self.said[[self.seeds.index(seed) for seed in seeds]]


def outcomes(cell: Cell, read: Callable[..., Predictions | None]) -> dict[str, Outcome]:
    """By split, what the cell's runs said. ``read(run, reader)`` gives None for a run whose arrays cannot be used."""
    found = [(run, made) for run in cell.runs if (made := read(run, _ordered)) is not None]
    result = {}
    for split in ("validation", "test"):
        parts = [(run, one.of(split)) for run, one in found]
        same = [(run, part) for run, part in parts if read(run, _same_objects, part, parts[0])]
        if same and len(same[0][1].object_id):
            result[split] = Outcome(
                object_id=same[0][1].object_id,
                truth=same[0][1].truth,
                said=np.array([part.output.argmax(axis=1) for _, part in same], dtype=np.int16),
                sure=np.array([part.output.max(axis=1) for _, part in same]),
                seeds=tuple(run.seed for run, _ in same),
                classes=len(cell.runs[0].class_names),
            )
    return result


def _ordered(run: Run) -> Predictions:
    """The predictions by object id, so that those of two runs can be laid side by side."""
    found = arrays.predictions(run)
    return found.rows(np.argsort(found.object_id, kind="stable"))


def _same_objects(run: Run, part: Predictions, beginning: tuple[Run, Predictions]) -> bool:
    other, first = beginning
    if run.class_names != other.class_names:
        raise InputError(f"result.json: its classes are {', '.join(run.class_names)}, those of the first seed "
                         f"{', '.join(other.class_names)}; left out of tests, confusion and calibration")  # fmt: skip
    if np.array_equal(part.object_id, first.object_id) and np.array_equal(part.truth, first.truth):
        return True
    raise InputError(f"predictions.npz: other {'objects' if len(part.object_id) else 'splits'} or labels than the "
                     "first seed's; left out of tests, confusion and calibration")  # fmt: skip
