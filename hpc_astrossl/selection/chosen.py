"""Which objects a store takes so far, with which label, and why the others are left out."""

import numpy as np

from hpc_astrossl.selection.zones import Masked

KEPT = ""
EDGE = "near the edge"


class Selection:
    """For N objects: the reason to leave each out of a store ("" while it is in), and its class code (-1 for none).

    ``values`` counts the values that the labels were read from, before any filter; empty without labels.
    """

    def __init__(self, count: int, classes: int = 0, common: "Selection | None" = None):
        self.codes = np.zeros(count, dtype=np.uint8) if common is None else common.codes.copy()
        self.words = [KEPT] if common is None else list(common.words)
        narrow = np.int8 if classes <= 127 else np.int16
        self.labels = np.full(count, -1, narrow) if classes else np.broadcast_to(np.int16(-1), count)
        self.values: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def kept(self) -> Masked:
        """The objects that are in."""
        return Masked(self.codes == 0)

    @property
    def rows(self) -> np.ndarray:
        """Row numbers of the objects that are in, ascending."""
        return np.flatnonzero(self.codes == 0)

    @property
    def reasons(self) -> np.ndarray:
        """The reason of each object, as Python objects: they are of any length."""
        return np.array(self.words, dtype=object)[self.codes]

    def counts(self) -> dict[str, int]:
        """How many objects have each reason, KEPT among them, in the order in which they come."""
        codes, first, counts = np.unique(self.codes, return_index=True, return_counts=True)
        return {self.words[codes[i]]: int(counts[i]) for i in np.argsort(first).tolist()}

    def reject(self, asked: np.ndarray, reason: str, start: int = 0) -> None:
        """Give ``reason`` to those that have none yet, the first reason being the one counted: to rows, or to those of
        a mask, counted from ``start`` on."""
        if reason not in self.words:
            self.words.append(reason)
            if len(self.words) > 256:
                self.codes = self.codes.astype(np.uint16)
        if asked.dtype == bool:
            part = self.codes[start : start + len(asked)]
            part[asked & (part == 0)] = self.words.index(reason)
        else:
            asked = asked[self.codes[asked] == 0]
            self.codes[asked] = self.words.index(reason)
