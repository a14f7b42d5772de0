"""Are the probabilities true, and which classes are taken for which: reliability, calibration error, confusion."""

from dataclasses import dataclass

import numpy as np

from hpc_astrossl.report.base import cells as c
from hpc_astrossl.report.base.by_class import confusion
from hpc_astrossl.report.base.cells import Spread, spread_text
from hpc_astrossl.report.base.desk import Desk
from hpc_astrossl.report.base.outcomes import Outcome
from hpc_astrossl.report.base.tables import DASH, Entry, Table, number, signed, text

BINS = 15  # of equal width over 0 to 1 (Guo et al. 2017)


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """By bin of the largest probability, of the bins that are not empty: its mean, the accuracy, the objects."""

    confidence: np.ndarray
    accuracy: np.ndarray
    count: np.ndarray

    @property
    def error(self) -> float:
        """Expected calibration error: the mean over objects of |accuracy − confidence| of their bin."""
        return float((self.count * np.abs(self.accuracy - self.confidence)).sum() / self.count.sum())


def reliability(right: np.ndarray, sure: np.ndarray) -> Reliability:
    """Bins of objects by ``sure`` (any shape, largest probability), with ``right`` (the same shape, bool)."""
    right, sure = right.ravel(), sure.ravel().astype(np.float64)
    place = np.minimum((sure * BINS).astype(int), BINS - 1)
    count = np.bincount(place, minlength=BINS)
    filled = count > 0
    means = (np.bincount(place, values, minlength=BINS)[filled] / count[filled] for values in (sure, right))
    confidence, accuracy = means
    return Reliability(confidence=confidence, accuracy=accuracy, count=count[filled])


def of_outcome(said: Outcome) -> Reliability:
    """The reliability of all seeds together."""
    return reliability(said.said == said.truth, said.sure)


def calibration_table(desk: Desk) -> Table | None:
    """Calibration on test objects, a row a set and scheme at the set's largest size; None without predictions."""
    rows: list[tuple[Entry, ...]] = []
    for set_ in c.sets_of(desk.classes):
        size = c.main_size(desk.classes, set_)
        for scheme, said in desk.row(set_, size, "test").items():
            seeds = [reliability(one == said.truth, sure) for one, sure in zip(said.said, said.sure, strict=True)]
            spread = Spread.of([one.error for one in seeds])
            over = float(said.sure.mean() - (said.said == said.truth).mean())
            loss = c.get(desk.classes, set_, scheme, size).spread("test", "loss")
            rows.append(
                (
                    text(set_),
                    text(scheme),
                    text(spread_text(spread) if spread else DASH, value=spread.mean if spread else None),
                    text(signed(over), value=over),
                    number(loss.mean if loss else None),
                    number(len(said.object_id), 0),
                )
            )
    if not rows:
        return None
    return Table(
        name="calibration",
        title="Calibration on test objects",
        columns=("set", "scheme", "calibration error", "confidence − accuracy", "cross entropy", "objects"),
        rows=tuple(rows),
        caption=f"Expected calibration error over {BINS} bins of equal width, mean ± standard deviation over seeds. "
        "Confidence − accuracy above zero: the probabilities promise too much.",
        numeric=frozenset({2, 3, 4, 5}),
    )


def confusion_table(set_: str, found: dict[str, Outcome], names: tuple[str, ...]) -> Table:
    """Every pair of classes in long form: objects summed over seeds, and their share of the true class."""
    rows = []
    for scheme, said in found.items():
        counts = confusion(said)
        for truth, line in enumerate(counts):
            for predicted, count in enumerate(line):
                share = count / line.sum() if line.sum() else None
                rows.append((text(scheme), text(names[truth]), text(names[predicted]), number(int(count), 0),
                             number(share, 3)))  # fmt: skip
    return Table(
        name=f"confusion_{set_}",
        title=f"Confusion on {set_}, test objects",
        columns=("scheme", "true", "predicted", "objects", "share of the true class"),
        rows=tuple(rows),
        caption="Objects summed over seeds.",
        numeric=frozenset({3, 4}),
    )
