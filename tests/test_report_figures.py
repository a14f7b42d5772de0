"""Figures as they are written: nothing of them may lie outside."""

import numpy as np
import pytest

from hpc_astrossl.report.base.drawing import keep, style
from hpc_astrossl.report.errors import calibration
from hpc_astrossl.report.errors.figures import confusion


@pytest.mark.parametrize("schemes", [1, 2, 3, 5])
@pytest.mark.parametrize("names", [("star", "galaxy"), ("elliptical", "spiral", "lenticular", "irregular")])
def test_no_label_of_a_confusion_matrix_is_cut_off(tmp_path, monkeypatch, schemes, names):
    monkeypatch.setattr(calibration, "confusion", lambda _: np.ones((len(names), len(names))))
    with style("confusion"):
        figure = confusion({f"features-{number}": None for number in range(schemes)}, names)
        keep(figure, tmp_path, "confusion", title="EF-4, confusion")
        drawn = figure.get_tightbbox()  # inches
    width, height = figure.get_size_inches()
    assert drawn.x0 >= 0
    assert drawn.y0 >= 0
    assert drawn.x1 <= width
    assert drawn.y1 <= height
