"""The page that says what a classification is worth: scores before answers, calibration, and where it came from."""

from pathlib import Path
from typing import Any

from hpc_astrossl.classify.scores import Share
from hpc_astrossl.report.base.drawing import ACCENT, LINE, QUIET, SUFFIXES, canvas, keep, style
from hpc_astrossl.report.base.pages import render
from hpc_astrossl.terminal import shown

CALIBRATED = {"as learnt": False, "calibrated": True}
_LOOKS = {
    "as learnt": {"color": QUIET, "linestyle": "--", "marker": "s", "markersize": 3.5},
    "calibrated": {"color": ACCENT, "linestyle": "-", "marker": "o", "markersize": 4},
}


FIGURES = tuple(f"reliability.{suffix}" for suffix in SUFFIXES)


def draw(told: dict[str, Any], folder: Path) -> str:
    """Write the figure's files into a folder; returns its SVG."""
    with style("reliability"):
        return keep(_reliability(told["reliability"]), folder, "reliability", title="Reliability")["svg"]


def page(told: dict[str, Any], svg: str, figures: str) -> str:
    """The page; ``figures`` is the name of the folder of the figure's files beside it."""
    names = [shown(name) for name in told["classes"]]
    return render(__package__, "page.html", told=told, names=names, svg=svg, figures=figures, share=share)


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
    axes.legend(loc="lower right")  # honest curves go up: there is room
    return figure
