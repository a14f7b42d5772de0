"""How the images of a store were made out of files: kept by the store, inherited by its runs, repeated on pictures."""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from hpc_astrossl import config
from hpc_astrossl.errors import InputError

DELIVERED, FLUXES = "as delivered", "fluxes"
CLOSE = 0.01  # pixel scales that differ by a smaller share are the same
UNKNOWN = "how the run's images were made is unknown: it is of a program or a store that did not keep it"


@dataclass(frozen=True, kw_only=True)
class Making:
    """``crop`` is the side of the square that is taken out of a file, pixels (None: the largest there is), ``size``
    that of the image made of it by ``resampling``; ``pixel_scale`` of the image in arcsec, where it is known.

    ``kinds`` are the suffixes of the files; ``keep`` tells that their bytes were kept; ``stretch`` how fluxes became
    colours; ``unreadable`` what was done about an unreadable file.
    """

    source: str  # "files", "fields" or "cutouts", as in a recipe
    size: int
    crop: int | None = None
    resampling: str = "none"
    pixel_scale: float | None = None
    channels: tuple[str, ...] = ()
    stretch: str = DELIVERED
    kinds: tuple[str, ...] = ()
    keep: str | None = None
    unreadable: str = "stop"

    def record(self) -> dict[str, Any]:
        """Plain data, as a store and ``result.json`` keep it."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    def differences(self, other: "Making") -> list[str]:
        """What the two do otherwise to the same sky, in words: "crop 64, there 32"."""
        found = [
            f"{name} {_words(ours)}, there {_words(theirs)}"
            for name in ("size", "crop", "resampling", "stretch")
            if (ours := getattr(self, name)) != (theirs := getattr(other, name))
        ]
        scales = self.pixel_scale, other.pixel_scale
        if None not in scales and abs(scales[0] - scales[1]) > CLOSE * min(scales):
            found.append(f"pixel scale {scales[0]:g} arcsec, there {scales[1]:g}")
        return found


def _words(value: Any) -> str:
    return "null" if value is None else str(value)


def read(record: Any, where: str) -> Making | None:
    """What a store or a run kept; None when it kept nothing. InputError, opening with ``where``, when it is damaged."""
    if not record:
        return None
    try:
        return config.parse(dict(record), Making, "images")
    except (InputError, TypeError, ValueError) as error:
        raise InputError(f"{where}: damaged: {error}") from None


def of_recipe(recipe: Mapping[str, Any], store: str, *, channels: Collection[str], pixel_scale: float | None,
              kinds: Collection[str] = ()) -> Making | None:  # fmt: skip
    """Of a store that was made by a recipe (plain data, as stores keep it); None when that does not tell."""
    size = recipe.get("size")
    source = next((key for key in ("files", "fields", "cutouts") if recipe.get(key)), None)
    if source is None or not isinstance(size, int):
        return None
    spec = recipe[source]
    wanted = (recipe.get("stores") or {}).get(store) or {}
    common = {"source": source, "size": size, "pixel_scale": pixel_scale, "channels": tuple(channels),
              "kinds": tuple(sorted(kinds)), "unreadable": spec.get("unreadable", "stop")}  # fmt: skip
    if source == "files":
        keep, crop = spec.get("keep"), spec.get("crop")
        crop = size if keep else crop
        return Making(crop=crop, resampling="none" if crop == size else "lanczos", keep=keep, **common)
    stretch = FLUXES
    if wanted.get("images", "rgb") == "rgb":
        lupton = spec.get("lupton")
        stretch = DELIVERED if not lupton else "lupton " + " ".join(f"{key}={lupton[key]}" for key in sorted(lupton))
    return Making(crop=size, resampling=str(spec.get("resample") or "none"), stretch=stretch, **common)
