"""The pretext task in numbers: mean absolute error by band, beside guessing the median and beside the paper."""

from dataclasses import dataclass

import numpy as np

from hpc_astrossl.report.base import cells as c
from hpc_astrossl.report.base.arrays import Predictions
from hpc_astrossl.report.base.cells import Cell, Spread
from hpc_astrossl.report.base.published import PRETEXT_MAE, PRETEXT_MAE_MAGNITUDES
from hpc_astrossl.report.base.tables import DASH, Entry, Table, number, text
from hpc_astrossl.specs.properties import PROPERTIES

SPLITS = ("validation", "test")


@dataclass(frozen=True, kw_only=True)
class Guess:
    """Magnitudes to hold an error against, overall and by band."""

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


def uncertainties(found: Predictions, bands: tuple[str, ...]) -> Guess | None:
    """Mean catalogue uncertainty, where known: overall and by band; None when the run did not keep them."""
    if found.uncertainty is None or not np.isfinite(found.uncertainty).any(axis=0).all():
        return None
    by_band = np.nanmean(found.uncertainty.astype("float64"), axis=0)
    overall = float(np.nanmean(found.uncertainty, dtype="float64"))
    return Guess(overall=overall, by_band=dict(zip(bands, map(float, by_band), strict=True)))


def table(cell: Cell, found: Predictions | None) -> Table:
    """One row for the loss's scale, one for magnitudes, one a band. ``found``: the predictions that are drawn."""
    bands = cell.runs[0].bands
    guess, known = (make(found, bands) if found else None for make in (median_guess, uncertainties))
    shown = f"{len(found.split):,} {found.split[0]} objects" if found and len(found.split) else "none"
    lines = [
        ("all bands, of magnitudes/30", None, "mae", 4, 30.0, PRETEXT_MAE),
        ("all bands, magnitudes", None, "mae_magnitudes", 3, 1.0, PRETEXT_MAE_MAGNITUDES),
    ]
    lines += [(band, band, "", 3, 1.0, None) for band in bands]
    rows = []
    for label, band, metric, digits, scale, paper in lines:
        measured = [_entry(_spread(cell, split, band, metric), digits) for split in SPLITS]
        beside = [number(_of(one, band, scale), digits, mark="quiet") for one in (known, guess)]
        rows.append((text(label), *measured, *beside, number(paper, digits, mark="quiet")))
    return Table(
        name=f"pretext_{cell.set}_n{c.size_name(cell.size).replace(',', '')}",
        title=f"Mean absolute error of the predicted magnitudes ({cell.set})",
        columns=("band", "validation", "test", "catalogue uncertainty", "guessing the median", "paper, validation"),
        rows=tuple(rows),
        caption=f"Mean ± sample standard deviation (ddof = 1), n = {len(cell.runs)}. Scatter plots: {shown} of "
        f"{cell.runs[0].run_id}. Catalogue uncertainty: its mean on those objects, what no prediction can undercut for "
        "long. Guessing the median: the error, on those objects, of always naming a band's median.",
        numeric=frozenset(range(1, 6)),
    )


def measured_table(cell: Cell, found: Predictions | None) -> Table:
    """One row for all properties, of their ranges, and one a property in its unit; ``found``: what is drawn."""
    names = cell.runs[0].bands
    guess = median_guess(found, names) if found else None
    scaled = scaled_guess(guess) if guess else None
    overall = (_entry(cell.spread(split, "mae"), 4) for split in SPLITS)
    rows = [(text("all, of their ranges"), text(""), *overall, number(scaled, 4, mark="quiet"), text(""))]
    for name in names:
        known = PROPERTIES.get(name)
        rows.append((text(name), text(known.unit if known else ""),
                     *(_entry(_spread(cell, split, name, ""), 3) for split in SPLITS),
                     number(_of(guess, name, 1.0), 3, mark="quiet"),
                     text(known.about if known else "", mark="quiet")))  # fmt: skip
    return Table(
        name=f"pretext_{cell.set}_n{c.size_name(cell.size).replace(',', '')}",
        title=f"Mean absolute error of the predicted properties ({cell.set})",
        columns=("property", "unit", "validation", "test", "guessing the median", "what it is"),
        rows=tuple(rows),
        caption=f"Mean ± sample standard deviation (ddof = 1), n = {len(cell.runs)}. Truth: measured from the cutout "
        "itself. Guessing the median: the error, on the objects drawn, of always naming a property's median.",
        numeric=frozenset({2, 3, 4}),
    )


def scaled_guess(guess: Guess) -> float | None:
    """The mean over properties of a guess, each over its range; None when a property is not known here."""
    if not guess.by_band.keys() <= PROPERTIES.keys():
        return None
    return float(np.mean([error / PROPERTIES[name].limit for name, error in guess.by_band.items()]))


def _of(known: Guess | None, band: str | None, scale: float) -> float | None:
    if known is None:
        return None
    return known.overall / scale if band is None else known.by_band[band]


def shown_split(found: Predictions) -> Predictions:
    """Test objects, or validation objects where there is no test split."""
    test = found.of("test")
    return test if len(test.object_id) else found.of("validation")
