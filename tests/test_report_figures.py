"""Figures as they are written: nothing of them may lie outside."""

import numpy as np
import pytest

from hpc_astrossl.report.base import by_class
from hpc_astrossl.report.base.arrays import Predictions
from hpc_astrossl.report.base.cells import Spread
from hpc_astrossl.report.base.drawing import keep, style
from hpc_astrossl.report.curves.figures import learning_curves
from hpc_astrossl.report.errors.figures import confusion
from hpc_astrossl.report.low_data.figures import LowData, low_data_curve
from hpc_astrossl.report.pretext import figures, tables


@pytest.mark.parametrize("schemes", [1, 2, 3, 5])
@pytest.mark.parametrize("names", [("star", "galaxy"), ("elliptical", "spiral", "lenticular", "irregular")])
def test_no_label_of_a_confusion_matrix_is_cut_off(tmp_path, monkeypatch, schemes, names):
    monkeypatch.setattr(by_class, "confusion", lambda _: np.ones((len(names), len(names))))
    with style("confusion"):
        figure = confusion({f"features-{number}": None for number in range(schemes)}, names)
        keep(figure, tmp_path, "confusion", title="EF-4, confusion")
        drawn = figure.get_tightbbox()  # inches
    width, height = figure.get_size_inches()
    assert drawn.x0 >= 0
    assert drawn.y0 >= 0
    assert drawn.x1 <= width
    assert drawn.y1 <= height


def lines(losses):
    return [{"epoch": place, "train_loss": loss / 2, "validation_loss": loss} for place, loss in enumerate(losses)]


@pytest.mark.parametrize("tops", [(0.4, 0.69), (0.69, 0.4), (0.1, 9.0), (0.5, float("inf"))])
def test_the_axes_of_learning_curves_hold_every_curve(tops):
    figure = learning_curves({f"scheme-{place}": [lines([top, 0.3])] for place, top in enumerate(tops)})
    for axes in figure.axes:
        highest = max(max(y for y in line.get_ydata() if np.isfinite(y)) for line in axes.lines)
        assert axes.get_ylim()[0] == 0
        assert highest <= axes.get_ylim()[1] <= 6 * highest


def test_the_bands_of_accuracies_end_where_accuracies_do():
    points = [(64, Spread(mean=0.9, std=0.2, n=3)), (256, Spread(mean=0.1, std=0.3, n=3))]
    (axes,) = low_data_curve(LowData(split="test", curves={"scratch": points}, share=0.5)).axes
    (band,) = axes.collections
    heights = band.get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == (0, 1)


def magnitudes():
    """40 objects in two bands, of which 15 and 40 have an uncertainty, one of them absurd; one truth is unknown."""
    source = np.random.default_rng(5)
    truth = source.uniform(14, 20, (40, 2))
    error = source.uniform(0.01, 0.2, (40, 2))
    error[15:, 0] = np.nan
    error[0, 0] = 7.65
    truth[39, 1] = np.nan
    ids, split = np.array([f"o{place}" for place in range(40)]), np.repeat("test", 40)
    output = truth + source.normal(0, 0.3, (40, 2))
    output[39, 1] = 15.0
    return Predictions(object_id=ids, split=split, truth=truth, output=output, uncertainty=error)


@pytest.mark.parametrize("make", [figures.predicted, figures.residual_by_magnitude, figures.residual_by_uncertainty])
def test_every_object_of_the_pretext_is_drawn_with_or_without_an_uncertainty(make):
    figure = make(magnitudes(), ("r", "F410"))
    for axes, known, hollow in zip(figure.axes, (40, 39), (25, 0), strict=True):
        points = [part for part in axes.collections if len(part.get_offsets())]
        assert sum(len(part.get_offsets()) for part in points) == known
        rings = [part for part in points if not len(part.get_facecolors())]
        assert sum(len(part.get_offsets()) for part in rings) == hollow
        (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
        for part in points:
            x, y = np.asarray(part.get_offsets()).T
            assert ((left <= x) & (x <= right) & (low <= y) & (y <= high)).all()


def test_the_numbers_in_the_panels_are_those_of_the_table(tmp_path):
    found = magnitudes()
    figure = figures.predicted(found, ("r", "F410"))
    drawn = [axes.texts[0].get_text() for axes in figure.axes]
    errors = np.abs(found.output - found.truth)
    by_hand = [errors[:, 0].mean(), np.nanmean(errors[:, 1])]
    assert drawn == [f"MAE {by_hand[0]:.3f}, n = 40", f"MAE {by_hand[1]:.3f}, n = 39"]
    assert [tables.mean_error(found, column) for column in (0, 1)] == pytest.approx(by_hand)


def test_the_catalogues_uncertainty_is_a_median_with_its_number():
    found = magnitudes()
    known = tables.uncertainty(found, 0)
    by_hand = found.uncertainty[:15, 0]
    assert (known.known, known.objects) == (15, 40)
    assert (known.median, known.low, known.high) == pytest.approx(tuple(np.percentile(by_hand, (50, 16, 84))))
    assert known.median < 0.2 < by_hand.mean()
