"""How figures look and how they are kept: one drawing becomes PNG, PDF, and SVG that follows the page's colours."""

import base64
import contextlib
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.image import imsave

from hpc_astrossl.files import write_aside

INK, QUIET, ACCENT, LINE, PAPER = "#1c2228", "#78828c", "#0b6b8c", "#d8dde1", "#ffffff"
_ON_PAGE = {
    INK: "var(--ink)",
    QUIET: "var(--quiet)",
    ACCENT: "var(--accent)",
    LINE: "var(--line)",
    PAPER: "var(--page)",
}
SUFFIXES = ("png", "pdf")  # of the files of a figure
_DPI = 200  # of PNG, and of what is a bitmap in the others
_STYLE = {
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titleweight": "normal",
    "axes.titlelocation": "left",
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.5,
    "svg.fonttype": "none",  # text stays text: the page's font, and words that can be searched
    "pdf.fonttype": 42,
    "axes.unicode_minus": True,
}


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A figure of the page: ``name`` is the stem of its files, ``svg`` stands in the page."""

    name: str
    title: str
    caption: str
    svg: str
    wide: bool = False


@contextlib.contextmanager
def style(name: str = "report") -> Iterator[None]:
    """matplotlib with our settings; outside the block it is as it was. ``name`` salts the ids in an SVG."""
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": name}):
        yield


def canvas(width: float = 4.6, height: float = 3.5) -> Figure:
    """An empty figure in inches, with a canvas of its own: nothing of pyplot's global state."""
    figure = Figure(figsize=(width, height), layout="constrained", facecolor=PAPER)
    FigureCanvasAgg(figure)
    return figure


def files_of(folder: Path, name: str) -> bool:
    """Whether the files that ``keep`` writes are there."""
    return all((folder / f"{name}.{suffix}").exists() for suffix in SUFFIXES)


def keep(figure: Figure, folder: Path, name: str, *, title: str) -> dict[str, Any]:
    """Write ``<name>.png`` and ``<name>.pdf`` below ``folder``, titled; return ``svg`` and ``wide`` of a Drawing.

    The canvases are asked themselves: ``Figure.savefig`` draws everything once more to find out the layout.
    """
    above = figure.suptitle(title.replace("$", r"\$"), x=0.01, ha="left", fontsize=9.5)
    shaped = any(axes.get_aspect() != "auto" for axes in figure.axes)
    for _ in range(3 if shaped else 1):  # panels that keep their shape settle at the third pass
        figure.get_layout_engine().execute(figure)
    figure.set_layout_engine("none")  # laid out now; the three files are alike
    top = figure.get_figheight() - above.get_window_extent().y0 / figure.dpi  # inches
    figure.dpi = _DPI
    png, pdf = io.BytesIO(), io.BytesIO()
    figure.canvas.print_png(png, metadata={"Software": None})
    FigureCanvasPdf(figure).print_pdf(pdf, metadata={"CreationDate": None, "Creator": None})
    write_aside(folder / f"{name}.png", png.getbuffer())
    write_aside(folder / f"{name}.pdf", pdf.getbuffer())
    above.set_visible(False)  # the page says it in its own words
    for patch in (figure.patch, *(axes.patch for axes in figure.axes)):
        patch.set_alpha(0)
    figure.dpi = _DPI
    stream = io.StringIO()
    FigureCanvasSVG(figure).print_svg(stream, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    return {"svg": _for_page(stream.getvalue(), figure, top), "wide": bool(figure.get_figwidth() > 7)}


def _for_page(svg: str, figure: Figure, top: float) -> str:
    """The SVG element alone, cut ``top`` inches below its upper edge, at most 1.4 times its natural width."""
    width, height, cut = figure.get_figwidth() * 72, figure.get_figheight() * 72, top * 72
    size = f'viewBox="0 {cut:.1f} {width:.1f} {height - cut:.1f}" style="max-width: {width * 1.87:.0f}px"'
    svg = re.sub(r"<svg[^>]*>", f'<svg xmlns:xlink="http://www.w3.org/1999/xlink" {size}>', svg, count=1)
    svg = svg[svg.index("<svg") :]
    for colour, variable in _ON_PAGE.items():
        svg = svg.replace(colour, variable)
    return svg


def png_uri(image: np.ndarray) -> str:
    """A data URI of an image (uint8, height × width × 3)."""
    stream = io.BytesIO()
    imsave(stream, np.ascontiguousarray(image), format="png")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
