"""The page that says what a classification is worth: scores before answers, calibration, and where it came from."""

from pathlib import Path
from typing import Any

from hpc_astrossl.classify.scores import Share
from hpc_astrossl.files import write_aside
from hpc_astrossl.report.base.drawing import ACCENT, LINE, QUIET, canvas, keep, style
from hpc_astrossl.report.base.pages import render

CALIBRATED = {"as learnt": False, "calibrated": True}
_LOOKS = {
    "as learnt": {"color": QUIET, "linestyle": "--", "marker": "s", "markersize": 3.5},
    "calibrated": {"color": ACCENT, "linestyle": "-", "marker": "o", "markersize": 4},
}


def write(record: Path, told: dict[str, Any]) -> Path:
    """Write ``<stem>.html`` beside the record, and the figure's files in ``<stem>.figures/``; returns the page."""
    figures = record.with_suffix(".figures")
    figures.mkdir(exist_ok=True)
    with style("reliability"):
        drawn = keep(_reliability(told["reliability"]), figures, "reliability", title="Reliability")
    out = record.with_suffix(".html")
    text = render(__package__, "page.html", told=told, svg=drawn["svg"], figures=figures.name, share=share)
    write_aside(out, text.encode())
    return out


def share(one: Share | dict[str, Any]) -> str:
    """A share and its interval in words."""
    found = one if isinstance(one, dict) else one.plain()
    if found["value"] is None:
        return "none was named so"
    return f"{found['value']:.3f} [{found['low']:.3f}, {found['high']:.3f}]"


def _reliability(curves: dict[str, Any]):
    """Accuracy against the largest probability in cross-validation, before and after; the diagonal is honest."""
    figure = canvas(4.4, 3.6)
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color=LINE, linewidth=1)
    for name, curve in curves.items():
        label = f"{name}: error {curve['error']:.3f}"
        axes.plot(curve["confidence"], curve["accuracy"], label=label, **_LOOKS[name])
    low = min(min(curve["confidence"]) for curve in curves.values())
    axes.set(xlim=(max(0, low - 0.05), 1.01), ylim=(-0.02, 1.02), xlabel="largest probability", ylabel="share right")
    axes.legend(loc="upper left")
    return figure
