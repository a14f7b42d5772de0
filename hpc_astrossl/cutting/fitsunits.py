"""The header-data units of a FITS file as they are stored, and the choice of the one that holds the image."""

from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from astropy.io import fits

from hpc_astrossl.cutting.badfile import NO_IMAGE, TRUNCATED, BadFile, RecipeFault

RAW = {"memmap": False, "disable_image_compression": True}  # compressed images as the tables they are stored in
_MOST_RATIO = 10_000  # pixels' bytes for a byte of compressed ones; PLIO of one value reaches about 8,000
_AXES = {2: "two", 3: "three"}


@dataclass(frozen=True, kw_only=True)
class Stored:
    """Where the bytes of a unit are in its file, what they should add up to, and what image they are, if any."""

    number: int
    name: str
    version: int
    shape: tuple[int, ...]  # of the image, numpy's order; () for a table or an empty unit
    kind: str  # of its numbers, or "table"
    start: int
    length: int
    datasum: str | None
    tiled: bool  # tile-compressed
    claim: str | None  # why the size that its header claims cannot be true

    @property
    def end(self) -> int:
        """The first byte after it."""
        return self.start + self.length

    def axes(self, count: int) -> tuple[int, ...] | None:
        """The numpy axes that matter, if there are ``count`` of them: axes of length one do not count."""
        if len(self.shape) == count and self.shape != (1,) * count:
            return tuple(range(count))
        long = tuple(axis for axis, length in enumerate(self.shape) if length != 1)
        return long if len(long) == count else None

    def __str__(self) -> str:
        what = " × ".join(map(str, self.shape[::-1])) + f" {self.kind}" if self.shape else self.kind
        name = f" {self.name}" + (f",{self.version}" if self.version != 1 else "") if self.name else ""
        return f"{self.number}{name} ({what})"


def choose(stream: IO[bytes], path: Path, axes: int, hdu: int | str | None) -> Stored:
    """The unit named by ``hdu``, a number from 0, a name or "name,version"; None: the only image with so many axes.

    BadFile when there is none, when several are there and none is named (the message lists them), when the file is
    shorter than its headers say, or when one of them claims a size that cannot be true.
    """
    return opened(stream, path, axes, hdu)[0]


def opened(stream: IO[bytes], path: Path, axes: int, hdu: int | str | None) -> tuple[Stored, fits.HDUList]:
    """What ``choose`` finds, and all units as astropy reads them with ``RAW``: headers are parsed once.

    The units go with the stream: closing them closes it.
    """
    found = stream.seek(0, 2)
    units, hdus = _units(stream)
    if not units:
        raise BadFile(f"{path}: damaged or not a FITS file: its first header has no end; fetch it again", TRUNCATED)
    fitting = [unit for unit in units if unit.axes(axes)]
    unit = _named(units, path, hdu) if hdu is not None else _only(fitting, path)
    if unit is None or not unit.axes(axes):
        _check_length(units, found, path)
        listed = "; ".join(map(str, units))
        what = f"{path}: holds no {_AXES[axes]}-dimensional image" if unit is None else \
            f"{path}: hdu {hdu} is no {_AXES[axes]}-dimensional image"  # fmt: skip
        raise BadFile(f"{what}; it holds: {listed}", NO_IMAGE)
    if found < unit.end:
        raise BadFile(f"{path}: truncated: {found:,} bytes found, {unit.end:,} needed; fetch it again", TRUNCATED)
    if unit.claim:
        raise BadFile(f"{path}: damaged: {unit.claim}; fetch it again")
    _check_next(stream, path, unit.end)
    return unit, hdus


def _units(stream: IO[bytes]) -> tuple[list[Stored], fits.HDUList]:
    """Every unit up to the end, or to what is no header."""
    stream.seek(0)
    found, units = [], fits.HDUList()
    while True:
        try:
            if not found:
                units = fits.open(stream, lazy_load_hdus=True, **RAW)  # closing the units would close the stream
            unit = units[len(found)]
        except (IndexError, OSError, ValueError, TypeError, KeyError, EOFError, fits.VerifyError):
            return found, units  # what was read so far says whether it matters
        found.append(_stored(len(found), unit))
        stream.seek(found[-1].end)
        if not stream.read(8).startswith(b"XTENSION"):
            return found, units


def _stored(number: int, unit: Any) -> Stored:
    header, place = unit.header, unit.fileinfo()
    tiled = header.get("ZIMAGE") is True
    prefix = "Z" if tiled else ""
    shape = ()
    if tiled or unit.is_image:
        shape = tuple(header[f"{prefix}NAXIS{axis}"] for axis in range(header.get(f"{prefix}NAXIS", 0), 0, -1))
        shape = () if 0 in shape else shape
    name = str(header.get("EXTNAME", ""))
    return Stored(
        number=number, name="" if name == "COMPRESSED_IMAGE" else name, version=header.get("EXTVER", 1), shape=shape,
        kind=_kind(header.get(f"{prefix}BITPIX")) if shape else ("no data" if unit.is_image else "table"),
        start=place["datLoc"], length=place["datSpan"], datasum=header.get("DATASUM"), tiled=tiled,
        claim=_claim(header, shape, place["datSpan"]) if tiled else None,
    )  # fmt: skip


def _kind(bitpix: Any) -> str:
    return {8: "uint8", 16: "int16", 32: "int32", 64: "int64", -32: "float32", -64: "float64"}.get(bitpix, "numbers")


def _claim(header: Any, shape: tuple[int, ...], length: int) -> str | None:
    """Why a tile-compressed image cannot have the size that its header claims: it is asked for before memory is."""
    if not shape or min(shape) < 1:
        return "its header gives no size" if not shape else f"its header claims a size of {shape[::-1]}"
    tiles = 1
    for axis, pixels in enumerate(reversed(shape), start=1):
        tile = header.get(f"ZTILE{axis}", pixels if axis == 1 else 1)
        if not isinstance(tile, int) or tile < 1:
            return f"ZTILE{axis} is {tile!r}"
        tiles *= -(-pixels // tile)
    size, rows = " × ".join(map(str, shape[::-1])), header.get("NAXIS2", 0)
    if tiles != rows:
        return f"its header claims {size} pixels in {tiles:,} tiles, {rows:,} are there"
    pixels = 1
    for axis in shape:
        pixels *= axis
    if pixels * abs(header.get("ZBITPIX", 8)) // 8 > _MOST_RATIO * max(length, 1):
        return f"its header claims {size} pixels, which {length:,} bytes cannot hold"
    return None


def _named(units: list[Stored], path: Path, hdu: int | str) -> Stored:
    if isinstance(hdu, int):
        fitting = [unit for unit in units if unit.number == hdu]
    else:
        name, _, version = hdu.partition(",")
        fitting = [unit for unit in units if unit.name.lower() == name.strip().lower()]
        fitting = [unit for unit in fitting if not version or str(unit.version) == version.strip()]
    if len(fitting) == 1:
        return fitting[0]
    listed = "; ".join(map(str, units))
    if not fitting:
        raise BadFile(f"{path}: has no hdu {hdu!r}; it holds: {listed}", NO_IMAGE)
    raise RecipeFault(f"{path}: has several units named {hdu!r}: {listed}; give the number, or NAME,VERSION")


def _only(fitting: list[Stored], path: Path) -> Stored | None:
    if len(fitting) > 1:
        listed = "; ".join(map(str, fitting))
        raise RecipeFault(f"{path}: holds several images: {listed}. Say which under fields or cutouts, by number or "
                          f"name: hdu: {fitting[0].name or fitting[0].number}")  # fmt: skip
    return fitting[0] if fitting else None


def _check_length(units: list[Stored], found: int, path: Path) -> None:
    end = units[-1].end
    if found < end:
        raise BadFile(f"{path}: damaged or not a FITS file: {found:,} bytes found, its headers describe {end:,}; "
                      "fetch it again", TRUNCATED)  # fmt: skip


def _check_next(stream: IO[bytes], path: Path, end: int) -> None:
    """BadFile when neither a header nor padding follows an image: its header claims less than there is."""
    stream.seek(end)
    follows = stream.read(2880)
    if follows.strip(b"\0 ") and not follows.startswith(b"XTENSION"):
        raise BadFile(f"{path}: damaged: what follows its image, at byte {end:,}, is no header, so BITPIX or a size "
                      "is wrong; fetch it again")  # fmt: skip
