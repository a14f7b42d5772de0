"""Features projected to the plane, by class."""

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from hpc_astrossl.report.base.drawing import canvas
from hpc_astrossl.report.base.look import CLASS_COLOURS, CLASS_MARKERS, short
from hpc_astrossl.report.features.projection import Projection


def projection(found: Projection, names: tuple[str, ...]) -> Figure:
    """t-SNE points by class; the axes have no meaning and no ticks."""
    figure = canvas(4.3, 4.4)
    axes = figure.add_subplot()
    few = len(names) <= len(CLASS_COLOURS)
    ramp = colormaps["viridis"](np.linspace(0.15, 0.9, len(names)))
    for index, name in enumerate(names):
        rows = found.label == index
        colour = CLASS_COLOURS[index] if few else ramp[index]
        marker = CLASS_MARKERS[index % len(CLASS_MARKERS)]
        axes.scatter(*found.points[rows].T, s=14, color=[colour], marker=marker, alpha=0.75, linewidths=0,
                     label=short(name))  # fmt: skip
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.grid(False)
    figure.legend(loc="outside lower center", ncols=min(5, len(names)), handletextpad=0.2, columnspacing=1.2)
    return figure
