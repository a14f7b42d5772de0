"""Contact sheets: cutouts of chosen objects from the store that the embedding was made of."""

import io
from pathlib import Path

import numpy as np

from hpc_astrossl.errors import InputError
from hpc_astrossl.ids import folded
from hpc_astrossl.report.base.drawing import PAPER, canvas, style
from hpc_astrossl.store import Store, open_store
from hpc_astrossl.store.display import displayed

COLUMNS = 8


class Pictures:
    """Cutouts by object id; ``why`` says why there are none."""

    def __init__(self, path: Path | None):
        self.store: Store | None = None
        self.why = ("the embedding was not made of a store but of pictures; make a store of them and embed that "
                    "(docs/explore.md), or give one that has the same ids by --store")  # fmt: skip
        if path is not None:
            try:
                self.store = open_store(path)
                ids = folded(self.store.table["object_id"])
                self._order = np.argsort(ids, kind="stable")
                self._sorted = ids[self._order]
            except InputError as error:
                self.why = str(error)

    def sheet(self, ids: np.ndarray, words: list[str], title: str) -> bytes | None:
        """A sheet of these objects as PNG, in order, with a line of words each; None where there are no cutouts."""
        rows = self.rows(ids)
        if self.store is None or (rows < 0).any():
            return None
        images = displayed(self.store.images(rows), self.store.info.channels)
        self.store.hold()
        lines = -(-len(ids) // COLUMNS)
        with style():
            figure = canvas(1.35 * min(COLUMNS, len(ids)), 1.8 * lines + 0.3)
            figure.suptitle(title, x=0.01, ha="left", fontsize=9.5)
            for place, (image, name, line) in enumerate(zip(images, ids, words, strict=True)):
                axes = figure.add_subplot(lines, min(COLUMNS, len(ids)), place + 1)
                axes.imshow(image)
                axes.set(xticks=[], yticks=[])
                axes.grid(False)
                axes.spines[:].set_visible(False)
                axes.set_title(f"{name}\n{line}".replace("$", r"\$"), fontsize=6.5)
            stream = io.BytesIO()
            figure.savefig(stream, format="png", dpi=150, facecolor=PAPER, metadata={"Software": None})
        return stream.getvalue()

    def rows(self, ids: np.ndarray) -> np.ndarray:
        """Rows of the store, −1 for an object that it does not have."""
        if self.store is None:
            return np.full(len(ids), -1)
        ids = folded(ids)
        place = np.minimum(np.searchsorted(self._sorted, ids), len(self._sorted) - 1)
        return np.where(self._sorted[place] == ids, self._order[place], -1)
