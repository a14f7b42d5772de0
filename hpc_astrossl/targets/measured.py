"""Regression on what is measured from the cutout itself by SExtractor's methods (``sep``): no catalogue is needed.

Five properties of the source at the centre of the cutout's mean over channels, background removed. The paper calls
targets of this kind "cheaply computed" (Martinazzo et al. 2020, sec. V). An object without a source there, or where
a measurement fails, has NaN and takes no part in losses.
"""

from typing import Any

import numpy as np

from hpc_astrossl.errors import InputError
from hpc_astrossl.specs.properties import PROPERTIES
from hpc_astrossl.store import Store, StoreInfo
from hpc_astrossl.targets.magnitudes import Columns, Magnitudes

try:
    import sep
except ImportError as error:
    raise InputError(f"target measured needs sep, which cannot be imported here ({error}): pip install sep") from None

RANGES = {name: one.limit for name, one in PROPERTIES.items()}
RGB = ("red", "green", "blue")  # channels of pictures, whose numbers are no fluxes
THRESHOLD = 2.0  # standard deviations of the background
FRAME = 8  # the background is measured in a frame of 1/8 of the side


class Measured(Magnitudes):
    """``bands`` are the properties' names; everything else is as for magnitudes."""

    def __init__(self, info: StoreInfo, spec: Any = None):
        names = spec.bands if spec is not None and spec.bands else tuple(RANGES)
        super().__init__(StoreInfo(**vars(info) | {"bands": tuple(RANGES)}), spec)
        self.bands = names
        self.scale = np.array([RANGES[name] for name in names], dtype=np.float32)

    def columns(self, store: Store) -> Columns:
        """The store's columns, with measurements in the place of magnitudes, (N, 5); reads every image."""
        unit = flux_unit(store.info)
        found = [
            measure(image, unit) for index in range(-(-len(store) // store.chunk_rows)) for image in store.chunk(index)
        ]
        return store.table | {"magnitudes": np.stack(found)}

    def metrics(self, answer: np.ndarray, truth: np.ndarray, losses: np.ndarray) -> dict[str, Any]:
        """Loss and mae of the outputs (0 to 1), and by property in the property's own unit."""
        found = super().metrics(answer, truth, losses)
        error = np.abs(answer.astype(np.float64) - truth) / self.scale
        known = np.isfinite(truth)
        by_object = np.where(known, error, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
        return {"loss": found["loss"], "mae": float(by_object.mean()), "mae_by_band": found["mae_by_band"]}

    def uncertainty(self, table: Columns, rows: np.ndarray) -> Columns:
        """Nothing: a measurement comes without one."""
        return {}


def flux_unit(info: StoreInfo) -> float:
    """What a flux summed over a store's pixels is multiplied by: nJy of calibrated images, else 1.

    Calibrated pixels are 1e-5 of 3631 Jy per square arcsec, so that all but the brightest objects are below 1; in nJy
    the range of 8 dex reaches from magnitude 31.4 to 11.4.
    """
    images = info.recipe.get("fields") or info.recipe.get("cutouts") or {}
    calibrated = any(images.get(key) is not None for key in ("unit", "zero_point", "zero_points"))
    colours = tuple(info.channels) == RGB
    return 1e-5 * 3631e9 * info.pixel_scale**2 if calibrated and not colours and info.pixel_scale else 1.0


def measure(image: np.ndarray, unit: float = 1.0) -> np.ndarray:
    """The properties of ``RANGES``, float32 (5,), of an image (height, width, channels); NaN without a source.

    ``unit`` is what the flux is multiplied by, see ``flux_unit``.
    """
    data = image.mean(axis=2, dtype=np.float64)
    height, width = data.shape
    frame = max(1, min(height, width) // FRAME)
    inside = np.zeros(data.shape, dtype=bool)
    inside[frame:-frame, frame:-frame] = True
    sky = data[~inside]
    level = np.median(sky)
    noise = max(1.4826 * float(np.median(np.abs(sky - level))), 1e-6 * max(float(np.ptp(data)), 1e-30))
    data = np.ascontiguousarray(data - level)
    try:
        sources = sep.extract(data, THRESHOLD, err=noise)
    except Exception:  # sep's own error class: too many pixels above the threshold, which is no source either
        return np.full(len(RANGES), np.nan, dtype=np.float32)
    distance = np.hypot(sources["x"] - (width - 1) / 2, sources["y"] - (height - 1) / 2)
    if not len(sources) or distance.min() > min(height, width) / 4:
        return np.full(len(RANGES), np.nan, dtype=np.float32)
    return _properties(data, sources[distance.argmin()], unit)


def _properties(data: np.ndarray, source: np.void, unit: float) -> np.ndarray:
    x, y, a, b, theta = (source[key] for key in ("x", "y", "a", "b", "theta"))
    theta = np.clip(theta, -np.pi / 2, np.pi / 2)
    kron = float(sep.kron_radius(data, [x], [y], [a], [b], [theta], 6.0)[0][0])
    kron = kron if np.isfinite(kron) and kron > 0 else 2.5
    flux = float(sep.sum_ellipse(data, [x], [y], [a], [b], [theta], 2.5 * kron, subpix=5)[0][0])
    radii, _ = sep.flux_radius(data, [x], [y], [6.0 * a], [[0.2, 0.5, 0.8]], normflux=[flux], subpix=5)
    r20, r50, r80 = (float(radius) for radius in np.ravel(radii))
    found = {
        "log_flux": np.log10(flux * unit) if flux > 0 else np.nan,
        "size": r50 / (min(data.shape) / 2),
        "ellipticity": 1 - b / a,
        "concentration": 5 * np.log10(r80 / r20) if 0 < r20 < r80 else np.nan,
        "asymmetry": _asymmetry(data, x, y, 1.5 * kron * a),
    }
    values = np.array([found[name] for name in RANGES])
    return np.clip(values, 0, list(RANGES.values())).astype(np.float32)


def _asymmetry(data: np.ndarray, x: float, y: float, radius: float) -> float:
    """Within ``radius`` pixels of the half pixel nearest to the centre, as far as the image has what lies opposite."""
    spans = []
    for centre, size in ((y, data.shape[0]), (x, data.shape[1])):
        twice = round(2 * float(centre))
        low, high = max(0, twice - (size - 1)), min(size - 1, twice)
        spans.append((slice(low, high + 1), np.arange(low, high + 1) - twice / 2))
    (rows, down), (columns, right) = spans
    part = np.where(np.hypot(right, down[:, None]) <= radius, data[rows, columns], 0)
    total = np.abs(part).sum()
    return float(np.abs(part - part[::-1, ::-1]).sum() / (2 * total)) if total > 0 else np.nan
