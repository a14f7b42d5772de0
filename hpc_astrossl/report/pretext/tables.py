"""The pretext task in numbers: mean absolute error by band, beside guessing the median and beside the paper."""

from dataclasses import dataclass

import numpy as np

from hpc_astrossl.report.base import cells as c
from hpc_astrossl.report.base.arrays import Predictions
from hpc_astrossl.report.base.cells import Cell, Spread
from hpc_astrossl.report.base.published import PRETEXT_MAE, PRETEXT_MAE_MAGNITUDES, papers_pretext
from hpc_astrossl.report.base.tables import DASH, Entry, Table, number, text
from hpc_astrossl.specs.properties import PROPERTIES

SPLITS = ("validation", "test")


@dataclass(frozen=True, kw_only=True)
class Guess:
    """Errors to hold an error against, overall and by band."""

    overall: float
    by_band: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Quantiles:
    """Median and central 68% of the catalogue's uncertainty of ``known`` of ``objects``; all None for none known."""

    median: float | None
    low: float | None
    high: float | None
    known: int
    objects: int


def errors(found: Predictions) -> np.ndarray:
    """|predicted − true| (M × bands, float64), NaN where the truth is unknown: the one source of every error shown."""
    return np.abs(found.output.astype("float64") - found.truth.astype("float64"))


def mean_error(found: Predictions, column: int) -> float | None:
    """Mean absolute error of a band over the objects whose truth is known; None without one."""
    error = errors(found)[:, column]
    known = np.isfinite(error)
    return float(error[known].mean()) if known.any() else None


def _by_object(error: np.ndarray) -> float:
    """The mean over objects of the mean over their known bands, as the run's own metrics are taken."""
    known = np.isfinite(error)
    total = np.where(known, error, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    return float(total.mean())


def median_guess(found: Predictions, bands: tuple[str, ...]) -> Guess | None:
    """What no skill scores on these objects; None without one known magnitude in each band."""
    truth = found.truth.astype("float64")
    known = np.isfinite(truth)
    if not len(truth) or not known.any(axis=0).all():
        return None
    error = np.abs(truth - np.nanmedian(truth, axis=0))
    by_band = np.nanmean(error, axis=0)
    return Guess(overall=_by_object(error), by_band=dict(zip(bands, map(float, by_band), strict=True)))


def uncertainty(found: Predictions, column: int | None) -> Quantiles | None:
    """The catalogue's uncertainty of a band, or of all bands together; None when the run did not keep it."""
    if found.uncertainty is None:
        return None
    values = found.uncertainty if column is None else found.uncertainty[:, [column]]
    known = values[np.isfinite(values)].astype("float64")
    low, median, high = np.percentile(known, (16, 50, 84)) if len(known) else (None, None, None)
    return Quantiles(low=low, median=median, high=high, known=len(known), objects=values.size)


def _spread(cell: Cell, split: str, band: str, said: list[Predictions | None]) -> Spread | None:
    """Over seeds: from what each run said of the objects, or what its result.json tells where that cannot be read."""
    column, values = cell.runs[0].bands.index(band), []
    for run, found in zip(cell.runs, said, strict=True):
        part = found.of(split) if found else None
        told = run.metrics.get(split, {}).get("mae_by_band", {}).get(band)
        values.append(mean_error(part, column) if part is not None and len(part.split) else told)
    return Spread.of([float(v) for v in values if isinstance(v, int | float) and np.isfinite(v)])


def _entry(spread: Spread | None, digits: int) -> Entry:
    if spread is None:
        return text(DASH, mark="absent")
    std = "" if spread.std is None else f" ± {spread.std:.{digits}f}"
    return text(f"{spread.mean:.{digits}f}{std}")


def _uncertainty_entry(known: Quantiles | None, scale: float, digits: int) -> Entry:
    if known is None or known.median is None:
        return text(DASH, mark="absent")
    low, median, high = (value / scale for value in (known.low, known.median, known.high))
    note = f"[{low:.{digits}f}, {high:.{digits}f}], n = {known.known:,} of {known.objects:,}"
    return text(f"{median:.{digits}f}", note=note, mark="quiet")


def table(cell: Cell, said: list[Predictions | None]) -> Table:
    """One row for the loss's scale, one for magnitudes, one a band. ``said``: of each run, the first is drawn."""
    run = cell.runs[0]
    found = shown_split(said[0]) if said[0] else None
    guess = median_guess(found, run.bands) if found else None
    drawn = len(cell.runs) > 1 and found is not None
    rows = []
    for label, metric, scale, paper in (
        ("all bands, of magnitudes/30", "mae", 30.0, PRETEXT_MAE),
        ("all bands, magnitudes", "mae_magnitudes", 1.0, PRETEXT_MAE_MAGNITUDES),
    ):
        digits = 4 if scale > 1 else 3
        entries = [_entry(cell.spread(split, metric), digits) for split in SPLITS]
        entries += [number(_by_object(errors(found)) / scale, digits)] if drawn else []
        entries += [_uncertainty_entry(uncertainty(found, None) if found else None, scale, digits)]
        entries += [number(guess.overall / scale if guess else None, digits, mark="quiet")]
        entries += [number(paper, digits, mark="quiet")] if papers_pretext(run) else []
        rows.append((text(label), *entries))
    for column, band in enumerate(run.bands):
        entries = [_entry(_spread(cell, split, band, said), 3) for split in SPLITS]
        entries += [number(mean_error(found, column), 3)] if drawn else []
        entries += [_uncertainty_entry(uncertainty(found, column) if found else None, 1.0, 3)]
        entries += [number(guess.by_band[band] if guess else None, 3, mark="quiet")]
        entries += [text("")] if papers_pretext(run) else []
        rows.append((text(band), *entries))
    columns = ["band", "validation", "test", *(["drawn"] if drawn else []), "catalogue uncertainty",
               "guessing the median", *(["paper, validation"] if papers_pretext(run) else [])]  # fmt: skip
    return Table(
        name=_name(cell),
        title=f"Mean absolute error of the predicted magnitudes ({cell.set})",
        columns=tuple(columns),
        rows=tuple(rows),
        caption=f"Mean ± sample standard deviation (ddof = 1), n = {len(cell.runs)}. "
        f"{_shown(found, run.run_id, drawn)} Catalogue uncertainty: the median on those objects; in brackets the "
        "central 68%, and how many have one. Guessing the median: the error, on those objects, of always naming a "
        "band's median.",
        numeric=frozenset(range(1, len(columns))),
    )


def _name(cell: Cell) -> str:
    return f"pretext_{cell.set}_n{c.size_name(cell.size).replace(',', '')}"


def _shown(found: Predictions | None, run_id: str, drawn: bool) -> str:
    if found is None or not len(found.split):
        return "No figures: there are no predictions."
    column = ", and the column “drawn”," if drawn else ""
    return f"Figures{column}: {len(found.split):,} {found.split[0]} objects of {run_id}."


def measured_table(cell: Cell, said: list[Predictions | None]) -> Table:
    """One row for all properties, of their ranges, and one a property in its unit; ``said``: of each run."""
    names = cell.runs[0].bands
    found = shown_split(said[0]) if said[0] else None
    guess = median_guess(found, names) if found else None
    scaled = scaled_guess(guess) if guess else None
    overall = (_entry(cell.spread(split, "mae"), 4) for split in SPLITS)
    rows = [(text("all, of their ranges"), text(""), *overall, number(scaled, 4, mark="quiet"), text(""))]
    for name in names:
        known = PROPERTIES.get(name)
        rows.append((text(name), text(known.unit if known else ""),
                     *(_entry(_spread(cell, split, name, said), 3) for split in SPLITS),
                     number(guess.by_band[name] if guess else None, 3, mark="quiet"),
                     text(known.about if known else "", mark="quiet")))  # fmt: skip
    return Table(
        name=_name(cell),
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


def shown_split(found: Predictions) -> Predictions:
    """Test objects, or validation objects where there is no test split."""
    test = found.of("test")
    return test if len(test.object_id) else found.of("validation")
