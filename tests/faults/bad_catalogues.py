"""Rows of the table: catalogues with missing, foreign or impossible contents."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from astropy.table import Table

from faults import small_release as release
from faults.cases import REFUSED, TOLERATED, cut, nothing, spoiling

row = spoiling("catalogue", release.make)
LONG = 10**6  # characters


def file(folder: Path) -> Path:
    return folder / "release" / "objects.csv"


def lines(change: Callable[[list[str]], list[str]], header: str = release.HEADER):
    """A row's spoiling: the catalogue's lines changed."""
    return lambda folder: release.write_catalogue(folder, change(release.rows()), header)


def value(column: str, text: str, count: int = 1):
    """A row's spoiling: another value in a column of the first lines."""
    place = release.HEADER.split(",").index(column)

    def change(found: list[str]) -> list[str]:
        parts = [line.split(",") for line in found]
        for part in parts[:count]:
            part[place] = text
        return [",".join(part) for part in parts]

    return lines(change)


def encoded(encoding: str):
    """A row's spoiling: an id with an umlaut, the file in another encoding."""

    def spoil(folder: Path) -> None:
        value("ID", "größe")(folder)
        file(folder).write_bytes(file(folder).read_text(encoding="utf-8").encode(encoding))

    return spoil


def as_fits(part: float):
    """A row's spoiling: the catalogue as a FITS table, of which the first part is there."""

    def spoil(folder: Path) -> None:
        columns = zip(*(line.split(",") for line in release.rows()), strict=True)
        table = Table({name: np.array(found) for name, found in zip(release.HEADER.split(","), columns, strict=True)})
        for name in set(table.colnames) - {"ID", "FIELD"}:
            table[name] = table[name].astype(float)
        table.write(folder / "release" / "objects.fits", overwrite=True)
        cut(folder / "release" / "objects.fits", part)

    return spoil


FITS = ("--set", "catalogue.format=fits", "--set", "catalogue.file=objects.fits")
CASES = [
    row("of zero bytes", lambda f: file(f).write_text(""), REFUSED, r"objects\.csv: no column 'ID'; it has: no header"),
    row("without rows", lines(lambda _: []), REFUSED, r"objects\.csv: the table has no rows"),
    row("not there", lambda f: file(f).unlink(), REFUSED, r"objects\.csv: no such file; the recipe expects this table"),
    row("repeated ids", lines(lambda found: found + found[:3]), TOLERATED, "kept 24 · left out repeated id 3"),
    row("objects at one place", lines(lambda found: [*found, found[0].replace("o00", "again").replace("17.0", "18")]),
        TOLERATED, "kept 24 · left out within 1 arcsec of a brighter object 1"),
    row("missing column", lines(lambda found: found, release.HEADER.replace("RA", "alpha")), REFUSED,
        r"objects\.csv: no column 'RA'; .* The recipe says which column is which"),
    row("column in another case", lines(lambda found: found, release.HEADER.replace("g_auto", "G_AUTO")), REFUSED,
        r"objects\.csv: no column 'g_auto'; nearest: G_AUTO"),
    row("column twice", lines(lambda found: found, release.HEADER.replace("RA,DEC", "RA,RA")), REFUSED,
        r"column 'RA' stands 2 times in the header"),
    row("text in a number", value("X", "left"), REFUSED,
        r"objects\.csv, line 2: expected a number in column 4 \(X\), found 'left'"),
    row("sexagesimal among degrees", value("RA", "00:40:12.5", 3), REFUSED,
        r"line 2: expected a number in column 2 \(RA\), found '00:40:12.5'"),
    row("magnitude with its unit", value("g_auto", "17.2 mag"), REFUSED, r"line 2: .*\(g_auto\), found '17.2 mag'"),
    row("a short line", lines(lambda found: [*found[:4], found[4].rsplit(",", 2)[0], *found[5:]]), REFUSED,
        r"objects\.csv, line 6: 6 columns, expected 8, as the header"),
    row("a quote that never ends", value("ID", "\"o00"), REFUSED, r"objects\.csv, line \d+: unexpected end of data"),
    row("null bytes", lambda f: file(f).write_bytes(file(f).read_bytes().replace(b"o03", b"o\x003")), REFUSED,
        r"objects\.csv, line 5: a null byte in column 1 \(ID\)"),
    row("magnitudes of 99 and -99", lines(lambda found: [
        line.rsplit(",", 2)[0] + f",{(99, -99)[n % 2]},{line.rsplit(',')[-1]}" for n, line in enumerate(found)]),
        REFUSED, r"store tiny: no object is left of 24. Left out: detected in fewer than 2 bands 24",
        "--set", "stores.tiny.detected_in=2"),
    row("magnitudes of NaN and inf", lines(lambda found: [found[0].rsplit(",", 2)[0] + ",nan,inf", *found[1:]]),
        TOLERATED, r"kept 23 · left out detected in fewer than 1 bands 1"),
    row("position of NaN", value("RA", "nan", 2), TOLERATED, "kept 22 · left out position unknown 2"),
    row("position of inf", value("DEC", "inf"), TOLERATED, "kept 23 · left out position unknown 1"),
    row("declination 91", value("DEC", "91"), TOLERATED, "left out position out of range: ra 0..360, dec -90..90 "
        "degrees 1"),
    row("right ascension -5 and 400", lines(lambda found: [found[0].replace(",10.", ",-5."),
        found[1].replace(",10.", ",400."), *found[2:]]), TOLERATED, "left out position out of range.* 2"),
    row("pixel position of inf", value("X", "inf"), TOLERATED, "kept 23 · left out pixel position unknown 1"),
    row("pixel position outside the field", value("X", "1e12"), TOLERATED, "kept 23 · left out near the edge 1"),
    row("field that has no image", value("FIELD", "F2"), REFUSED, r"F2_g\.fits: no such file; objects of the catalogue "
        "lie in this field"),
    row("field that leads out of the folder", value("FIELD", "../../etc/F"), REFUSED,
        r"'\.\./\.\./etc/F' cannot be part of a file's name, as \{field\}"),
    row("Latin-1", encoded("latin-1"), REFUSED, r"objects\.csv: .*save it as UTF-8"),
    row("UTF-16", encoded("utf-16"), REFUSED, r"objects\.csv: text in UTF-16; save it as UTF-8"),
    row("an id of a million characters", value("ID", "x" * LONG), REFUSED,
        r"objects\.csv, line 2: field larger than field limit"),
    row("an id of a thousand characters", value("ID", "x" * 1000), REFUSED,
        r"objects\.csv, line 2: 1,000 characters in column 1 \(ID\), expected at most 255"),
    row("a header of a million characters", lines(lambda found: found, release.HEADER + ",c" * (LONG // 2)), REFUSED,
        r"objects\.csv, line 2: 8 columns, expected 500,?008, as the header"),
    row("gzip under its name", lambda f: file(f).write_bytes(b"\x1f\x8b" + bytes(90)), REFUSED,
        "cannot be read as a text table"),
    row("a CSV where FITS was promised", nothing, REFUSED, r"objects\.csv: is neither a FITS nor a Parquet file, the "
        "recipe says format: fits; say format: ascii or csv", "--set", "catalogue.format=fits"),
    row("a FITS table", as_fits(1), TOLERATED, "kept 24 · left out none", *FITS),
    row("a FITS table cut off", as_fits(0.8), REFUSED, r"objects\.fits: cut off: [\d,]+ bytes found", *FITS),
    row("a FITS table without its header's end", as_fits(0.1), REFUSED, r"objects\.fits: ", *FITS),
]  # fmt: skip
