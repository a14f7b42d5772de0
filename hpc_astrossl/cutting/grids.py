"""Whether the bands of a field or object lie on one grid: size, shift, scale, rotation and parity, by their headers."""

from pathlib import Path

import numpy as np

from hpc_astrossl.cutting.badfile import RecipeFault
from hpc_astrossl.cutting.sky import Sky

APART = 0.1  # pixels that grids may differ anywhere
_CURE = "; give resample in the recipe, and every band is brought to one grid"


class Reference:
    """The first band, against which the others are held."""

    def __init__(self):
        self._first = None

    def hold(self, path: Path, shape: tuple[int, int], sky: Sky | None) -> None:
        """RecipeFault if a band's grid is not the first one's."""
        if self._first is None:
            self._first = path.name, shape, sky
            return
        name, first, first_sky = self._first
        if shape != first:
            raise RecipeFault(f"{path}: is {shape[1]} × {shape[0]} pixels, the field's other bands "
                              f"are {first[1]} × {first[0]}; all bands must share one pixel grid{_CURE}")  # fmt: skip
        if first_sky is not None and sky is not None and (words := differ(first_sky, sky)):
            raise RecipeFault(f"{path}: its pixels are not those of {name}: {words}; all bands must share one pixel "
                              f"grid{_CURE}")  # fmt: skip


def differ(one: Sky, other: Sky, apart: float = APART) -> str:
    """How the pixels of another image of the same size lie on the sky against those of one; "" if alike, to ``apart``
    pixels."""
    height, width = one.shape
    x, y = np.meshgrid(np.linspace(1, width, 3), np.linspace(1, height, 3))
    there = other.pixel(*one.sky(x, y))
    if (np.hypot(there[0] - x, there[1] - y) <= apart).all():
        return ""
    a, b = (sky.matrix((width + 1) / 2, (height + 1) / 2) for sky in (one, other))
    parts = []
    if np.linalg.det(a) * np.linalg.det(b) < 0:
        parts.append("mirrored")
    if abs(other.scale / one.scale - 1) > 1e-4:
        parts.append(f"{other.scale:.5g} arcsec per pixel for {one.scale:.5g}")
    turned = np.degrees(np.arctan2(b[0, 1], b[1, 1]) - np.arctan2(a[0, 1], a[1, 1]))
    turned = (turned + 180) % 360 - 180
    if abs(turned) > 0.005:
        parts.append(f"turned by {turned:.2f} degrees")
    dx, dy = there[0][1, 1] - x[1, 1], there[1][1, 1] - y[1, 1]
    parts.append(f"shifted by {dx:.2f}, {dy:.2f} pixels" if np.isfinite(dx + dy) else "on another part of the sky")
    return ", ".join(parts)
