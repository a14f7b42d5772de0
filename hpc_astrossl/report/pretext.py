"""The pretext task in numbers: mean absolute error by band, beside guessing the median and beside the paper."""

from dataclasses import dataclass

import numpy as np

from hpc_astrossl.report import cells as c
from hpc_astrossl.report.arrays import Predictions
from hpc_astrossl.report.cells import Cell, Spread
from hpc_astrossl.report.published import PRETEXT_MAE, PRETEXT_MAE_MAGNITUDES
from hpc_astrossl.report.records import Run
from hpc_astrossl.report.tables import DASH, Entry, Table, number, text

SPLITS = ("validation", "test")


@dataclass(frozen=True, kw_only=True)
class Guess:
    """Errors in magnitudes of guessing each band's median of the split: overall, and by band."""

    overall: float
    by_band: dict[str, float]


def median_guess(found: Predictions, bands: tuple[str, ...]) -> Guess | None:
    """What no skill scores on these objects; None without one known magnitude in each band."""
    truth = found.truth.astype("float64")
    known = np.isfinite(truth)
    if not len(truth) or not known.any(axis=0).all():
        return None
    error = np.abs(truth - np.nanmedian(truth, axis=0))
    by_band = np.nanmean(error, axis=0)
    return Guess(overall=float(np.nanmean(error)), by_band=dict(zip(bands, map(float, by_band), strict=True)))


def _spread(cell: Cell, split: str, band: str | None, metric: str) -> Spread | None:
    if band is None:
        return cell.spread(split, metric)
    values = [run.metrics.get(split, {}).get("mae_by_band", {}).get(band) for run in cell.runs]
    return Spread.of([float(v) for v in values if isinstance(v, int | float) and np.isfinite(v)])


def _entry(spread: Spread | None, digits: int) -> Entry:
    if spread is None:
        return text(DASH, mark="absent")
    std = "" if spread.std is None else f" ± {spread.std:.{digits}f}"
    return text(f"{spread.mean:.{digits}f}{std}")


def table(cell: Cell, found: Predictions | None) -> Table:
    """One row for the loss's scale, one for magnitudes, one a band. ``found``: the predictions that are drawn."""
    bands = cell.runs[0].bands
    guess = median_guess(found, bands) if found else None
    shown = f"{len(found.split):,} {found.split[0]} objects" if found and len(found.split) else "none"
    lines = [
        ("all bands, of magnitudes/30", None, "mae", 4, guess.overall / 30 if guess else None, PRETEXT_MAE),
        ("all bands, magnitudes", None, "mae_magnitudes", 3, guess and guess.overall, PRETEXT_MAE_MAGNITUDES),
    ]
    lines += [(band, band, "", 3, guess.by_band[band] if guess else None, None) for band in bands]
    rows = []
    for label, band, metric, digits, no_skill, paper in lines:
        measured = [_entry(_spread(cell, split, band, metric), digits) for split in SPLITS]
        rows.append(
            (text(label), *measured, number(no_skill, digits, mark="quiet"), number(paper, digits, mark="quiet"))
        )
    return Table(
        name=f"pretext_{cell.set}_n{c.size_name(cell.size).replace(',', '')}",
        title=f"Mean absolute error of the predicted magnitudes ({cell.set})",
        columns=("band", "validation", "test", "guessing the median", "paper, validation"),
        rows=tuple(rows),
        caption=f"Mean ± sample standard deviation (ddof = 1), n = {len(cell.runs)}. Scatter plots: {shown} of "
        f"{cell.runs[0].run_id}. Guessing the median: the error, on those objects, of always naming a band's median.",
        numeric=frozenset(range(1, 5)),
    )


def shown_split(found: Predictions) -> Predictions:
    """Test objects, or validation objects where there is no test split."""
    test = found.of("test")
    return test if len(test.object_id) else found.of("validation")


def shown_bands(run: Run, count: int = 4) -> list[int]:
    """A few bands spread evenly over all of them, the first and the last included."""
    return sorted({int(i) for i in np.linspace(0, len(run.bands) - 1, min(count, len(run.bands))).round()})
