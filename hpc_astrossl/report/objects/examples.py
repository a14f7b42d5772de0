"""Cutouts with their true and predicted classes, the most confident mistakes first: an astronomer looks there first."""

from dataclasses import dataclass

import numpy as np

from hpc_astrossl.report.base.arrays import Cutouts, Predictions
from hpc_astrossl.report.base.tables import Table, number, text

SHOWN = 12


@dataclass(frozen=True, kw_only=True)
class Example:
    """An object, its image (uint8, height × width × 3), what it is, what the run said and how surely."""

    object_id: str
    image: np.ndarray
    truth: str
    predicted: str
    probability: float

    @property
    def wrong(self) -> bool:
        """Whether the run named another class."""
        return self.truth != self.predicted


def examples(cutouts: Cutouts, found: Predictions, names: tuple[str, ...], count: int = SHOWN) -> list[Example]:
    """Mistakes by falling probability, then right answers, the classes in turn; never an object without prediction."""
    row_of = {str(name): row for row, name in enumerate(found.object_id)}
    made = []
    for name, image in zip(cutouts.object_id, cutouts.images, strict=True):
        row = row_of.get(str(name))
        if row is None:
            continue
        said = int(found.output[row].argmax())
        made.append(
            Example(
                object_id=str(name),
                image=image,
                truth=names[int(found.truth[row])],
                predicted=names[said],
                probability=float(found.output[row][said]),
            )
        )
    wrong = sorted((one for one in made if one.wrong), key=lambda one: -one.probability)
    return [*wrong, *_in_turn([one for one in made if not one.wrong], names)][:count]


def _in_turn(right: list[Example], names: tuple[str, ...]) -> list[Example]:
    by_class = {name: [one for one in right if one.truth == name] for name in names}
    longest = max((len(ones) for ones in by_class.values()), default=0)
    return [ones[place] for place in range(longest) for ones in by_class.values() if place < len(ones)]


def mistakes(set_: str, found: Predictions, names: tuple[str, ...], count: int = 25) -> Table:
    """The most confident mistakes of all validation and test objects, with or without a cutout."""
    said = found.output.argmax(axis=1)
    sure = found.output.max(axis=1)
    wrong = np.flatnonzero(said != found.truth)
    order = wrong[np.argsort(-sure[wrong], kind="stable")][:count]
    rows = tuple(
        (
            text(found.object_id[row]),
            text(found.split[row]),
            text(names[int(found.truth[row])]),
            text(names[int(said[row])]),
            number(float(sure[row]), 3),
        )
        for row in order
    )
    return Table(
        name=f"mistakes_{set_}",
        title=f"Most confident mistakes on {set_}",
        columns=("object", "split", "truth", "predicted", "probability"),
        rows=rows,
        caption=f"{len(wrong):,} of {len(said):,} validation and test objects are wrong; {len(rows)} are listed.",
        numeric=frozenset({4}),
    )
