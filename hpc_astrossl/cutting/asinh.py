"""Asinh-scaled pixels of Pan-STARRS stacks, undone.

Full skycell stacks of Pan-STARRS 1 keep x in flux = BOFFSET + BSOFTEN · (exp(x/a) − exp(−x/a)) with a = 2.5 log10 e =
1.0857362 (Waters et al. 2020, ApJS 251, 4, sec. 7.1; Lupton, Gunn & Szalay 1999, AJ 118, 1406), after BZERO and BSCALE.
Cutouts of the archive's service are linear, and have neither keyword.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hpc_astrossl.cutting.badfile import BadFile

A = 2.5 * np.log10(np.e)


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """Of one image: linear flux = offset + 2 · softening · sinh(x / A)."""

    offset: float
    softening: float

    def linear(self, stored: np.ndarray) -> np.ndarray:
        """Linear flux, float64; infinite where the stored number is beyond any detector's."""
        with np.errstate(over="ignore"):
            return self.offset + 2 * self.softening * np.sinh(np.asarray(stored, dtype=np.float64) / A)


def scaling(headers: Any, path: Path) -> Scaling | None:
    """The scaling that the headers (``fitsheaders.Headers``) tell of; None if pixels are linear.

    BadFile when one keyword is there alone.
    """
    found = {key: headers.get(key) for key in ("BOFFSET", "BSOFTEN")}
    found = {key: value for key, value in found.items() if value is not None}
    if not found:
        return None
    good = {key: value for key, value in found.items() if isinstance(value, int | float) and np.isfinite(value)}
    if len(good) < 2 or good["BSOFTEN"] <= 0:
        raise BadFile(f"{path}: BOFFSET and BSOFTEN tell of asinh-scaled pixels and must be two numbers, BSOFTEN "
                      f"positive; found {found}")  # fmt: skip
    return Scaling(offset=float(good["BOFFSET"]), softening=float(good["BSOFTEN"]))
