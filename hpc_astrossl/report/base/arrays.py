"""The arrays of a run folder, checked: predictions, features and cutouts. Opened only for the runs shown."""

import zipfile
import zlib
from dataclasses import dataclass

import numpy as np

from hpc_astrossl import npz, provenance
from hpc_astrossl.errors import InputError
from hpc_astrossl.report.base.records import Run


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """One row an object: ids and splits (M text), truth (M, or M × bands), output (M × classes or bands).

    ``uncertainty`` (M × bands, magnitudes) is the catalogue's of ``truth``; None where the run did not keep it.
    """

    object_id: np.ndarray
    split: np.ndarray
    truth: np.ndarray
    output: np.ndarray
    uncertainty: np.ndarray | None = None

    def of(self, split: str) -> "Predictions":
        """The rows of one split."""
        return self.rows(self.split == split)

    def rows(self, chosen: np.ndarray) -> "Predictions":
        """These rows, by a mask or by numbers."""
        return Predictions(**{key: None if value is None else value[chosen] for key, value in vars(self).items()})


@dataclass(frozen=True, kw_only=True)
class Features:
    """Labelled validation objects: label (M integers), features (M × width floats)."""

    label: np.ndarray
    features: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Cutouts:
    """Validation objects: object_id (M text), images (uint8, M × height × width × 3)."""

    object_id: np.ndarray
    images: np.ndarray


def predictions(run: Run) -> Predictions:
    """Read ``predictions.npz``; InputError when it is missing, damaged or of other shapes."""
    found = _load(run, "predictions.npz", ("object_id", "split", "truth", "output"), ("uncertainty",))
    wide = len(run.class_names) if run.target == "classes" else len(run.bands)
    shape = found["output"].shape
    _require(len(shape) == 2 and shape[1] == wide, "predictions.npz", f"output has shape {shape}, expected (M, {wide})")
    if run.target != "classes":
        alike = all(found[key].shape == shape for key in ("truth", "uncertainty") if key in found)
        _require(alike, "predictions.npz", "truth and output differ in shape")
    else:
        labels = found["truth"]
        good = np.issubdtype(labels.dtype, np.integer) and labels.ndim == 1
        _require(
            good and ((labels >= 0) & (labels < wide)).all(), "predictions.npz", "truth is not one label an object"
        )
    return Predictions(**found)


def features(run: Run) -> Features:
    """Read ``features.npz`` without objects that have no label; InputError when it is missing or damaged."""
    found = _load(run, "features.npz", ("object_id", "label", "features"))
    values = found["features"]
    good = values.ndim == 2 and np.isfinite(values).all()
    _require(bool(good), "features.npz", "features are not finite numbers of shape (M, width)")
    label = found["label"]
    _require(bool((label < len(run.class_names)).all()), "features.npz", "a label is beyond the class names")
    return Features(label=label[label >= 0], features=values[label >= 0])


def cutouts(run: Run) -> Cutouts:
    """Read ``cutouts.npz``; InputError when it is missing, damaged or of another shape."""
    found = _load(run, "cutouts.npz", ("object_id", "images"))
    images = found["images"]
    good = images.dtype == np.uint8 and images.ndim == 4 and images.shape[3] == 3
    _require(good, "cutouts.npz", f"images are {images.dtype} of shape {images.shape}, expected uint8 (M, h, w, 3)")
    return Cutouts(**found)


def _load(run: Run, name: str, keys: tuple[str, ...], more: tuple[str, ...] = ()) -> dict[str, np.ndarray]:
    """The arrays ``keys`` of a file, and of ``more`` those that are there."""
    try:
        if (digest := run.files.get(name)) and provenance.sha256(run.folder / name) != digest:
            raise ValueError("it is not the file that its run wrote")
        with npz.opened(run.folder / name) as archive:
            found = {key: archive[key] for key in (*keys, *(set(more) & set(archive.files)))}
    except (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, MemoryError) as error:
        missing = not (run.folder / name).exists()
        raise InputError(f"{name} is missing" if missing else f"{name} cannot be read: {error}") from None
    _require(len({len(np.atleast_1d(array)) for array in found.values()}) == 1, name, "its arrays differ in length")
    return found


def _require(condition: bool, name: str, fault: str) -> None:
    if not condition:
        raise InputError(f"{name}: {fault}")
