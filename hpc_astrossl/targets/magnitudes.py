"""Regression: the magnitudes of an object divided by 30, mean absolute error, an output that saturates at 0 and 1.

The saturating ReLU has no slope outside [0, 1], and an output that starts there would never learn. Two things keep
it alive (docs/decisions/saturating-output.md): the output starts at the mean magnitude of each band, and backwards
the clamp lets the gradient through as if it were not there.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hpc_astrossl.errors import InputError, unknown
from hpc_astrossl.specs.run import DataSpec
from hpc_astrossl.store import Store, StoreInfo, sweep

Columns = dict[str, np.ndarray]
FEWEST = 8  # objects of which a constant is no chance
SCALE = 30.0  # magnitudes; Martinazzo et al. 2020, sec. III-A


class Magnitudes:
    """All bands of the store, or those of ``spec.bands`` in that order.

    An unknown magnitude (NaN) takes no part in losses and metrics; with ``spec.missing`` "drop" its object takes none.
    """

    headline = "mae"

    def __init__(self, info: StoreInfo, spec: DataSpec | None = None):
        if not info.bands:
            raise InputError(f"store {info.name}: target magnitudes needs magnitudes, the store has none; take "
                             "the pretext store, or a target that needs none: measured, classes")  # fmt: skip
        chosen = spec.bands if spec is not None and spec.bands else info.bands
        for band in chosen:
            if band not in info.bands:
                raise unknown(f"band in data.bands of store {info.name}", band, info.bands)
        self.name, self.bands = info.name, chosen
        self.columns_chosen = [info.bands.index(band) for band in chosen]
        self.complete = spec is not None and spec.missing == "drop"
        self.scale = np.full(len(chosen), SCALE, dtype=np.float32)

    def columns(self, store: Store) -> Columns:
        """The store's columns."""
        return store.table

    def prepare(self, truth: Iterable[np.ndarray]) -> None:
        """InputError for a band that has one value for all training objects: nothing can be learnt from it."""
        count, least, most = np.zeros(self.outputs, dtype=np.int64), np.inf, -np.inf
        for part in truth:
            known = np.isfinite(part)
            count += known.sum(axis=0)
            least = np.minimum(least, part.min(axis=0, where=known, initial=np.inf))
            most = np.maximum(most, part.max(axis=0, where=known, initial=-np.inf))
        for number in np.flatnonzero((count >= FEWEST) & (least == most)):
            raise InputError(f"store {self.name}: target {self.bands[number]} is {least[number]:g} for all "
                             f"{count[number]} training objects that have one, so there is nothing to learn; leave it "
                             "out (data.bands), or look at the store's unit")  # fmt: skip

    @property
    def outputs(self) -> int:
        """One output a band."""
        return len(self.bands)

    def usable(self, table: Columns) -> np.ndarray:
        """Objects with one known magnitude or more; with all of them where incomplete objects are dropped."""
        known = np.isfinite(table["magnitudes"][:, self.columns_chosen])
        return known.all(axis=1) if self.complete else known.any(axis=1)

    def strata(self, table: Columns) -> np.ndarray:
        """One stratum: magnitudes are spread evenly by chance."""
        return np.zeros(len(table["split"]), dtype=np.int64)

    def truth(self, table: Columns) -> np.ndarray:
        """Magnitudes, float32 (N, bands), NaN where unknown. InputError when one is outside 0 to 30."""
        magnitudes = table["magnitudes"][:, self.columns_chosen]
        truth = np.where(np.isfinite(magnitudes), magnitudes, np.nan).astype(np.float32)
        bad = (truth < 0) | (truth > self.scale)
        if bad.any():
            row, band = np.argwhere(bad)[0]
            raise InputError(
                f"store {self.name}: object {table['object_id'][row]} has magnitude {truth[row, band]:g} in band "
                f"{self.bands[band]}; 0 to 30 can be predicted. Filter such values (99, -99) in the recipe"
            )
        return truth

    def first_output(self, truth: Iterable[np.ndarray]) -> np.ndarray:
        """The mean of each band, divided by 30; one half for a band that is never known."""
        sums, counts = np.zeros(self.outputs), np.zeros(self.outputs, dtype=np.int64)
        for part in truth:
            known = np.isfinite(part)
            sums += np.where(known, part, 0).sum(axis=0, dtype=np.float64)
            counts += known.sum(axis=0)
        return np.where(counts > 0, sums / np.maximum(counts, 1) / self.scale, 0.5).astype(np.float32)

    def losses(self, raw: Tensor, truth: Tensor) -> Tensor:
        """Mean absolute error over the known bands of each object, (B,), of magnitudes / 30."""
        known = torch.isfinite(truth)
        scale = torch.as_tensor(self.scale, device=truth.device)
        error = (saturate(raw) - truth.nan_to_num() / scale).abs() * known
        return error.sum(dim=1) / known.sum(dim=1).clamp(min=1)

    def answer(self, raw: Tensor) -> Tensor:
        """Magnitudes, (B, bands), within 0 to 30."""
        return raw.clamp(0, 1) * torch.as_tensor(self.scale, device=raw.device)

    def metrics(self, answer: np.ndarray, truth: np.ndarray, losses: np.ndarray) -> dict[str, Any]:
        """Loss and mae of magnitudes / 30, and the same in magnitudes, over all and by band (null: never known)."""
        error = np.abs(answer.astype(np.float64) - truth)
        known = np.isfinite(truth)
        by_band = np.where(known, error, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
        by_object = np.where(known, error, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
        return {
            "loss": float(losses.mean(dtype=np.float64)),
            "mae": float(by_object.mean() / SCALE),
            "mae_magnitudes": float(by_object.mean()),
            "mae_by_band": {
                band: float(value) if some else None
                for band, value, some in zip(self.bands, by_band, known.any(axis=0), strict=True)
            },
        }

    def uncertainty(self, table: Columns, rows: np.ndarray) -> Columns:
        """``uncertainty``: the catalogue's magnitude errors of these rows, float32 (M, bands), NaN where unknown."""
        return {"uncertainty": sweep.taken(table, "magnitude_errors", rows)[:, self.columns_chosen].astype(np.float32)}

    def shares(self, answers: dict[str, np.ndarray], truths: dict[str, np.ndarray]) -> dict[str, Any]:
        """Nothing: there is no commonest class."""
        return {}


def saturate(raw: Tensor) -> Tensor:
    """``raw`` clamped to [0, 1] going forwards, the identity going backwards.

    With an absolute error against a truth within [0, 1], the gradient outside is that of the unclamped error: it
    points back inside.
    """
    return raw + (raw.clamp(0, 1) - raw).detach()
