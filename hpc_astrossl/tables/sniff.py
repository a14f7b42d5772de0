"""What kind of table a file is, by its bytes: the name of its format, or what it is that cannot be read."""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hpc_astrossl.errors import InputError
from hpc_astrossl.tables import ruled, streams

HEAD = 1 << 18  # bytes looked at
WORDS = {  # format -> what a file of it is called
    "ascii": "text separated by spaces", "csv": "CSV", "tsv": "text separated by tabs",
    "semicolons": "text separated by semicolons", "fits": "FITS",
    "parquet": "Parquet", "feather": "Feather", "votable": "VOTable", "ecsv": "ECSV", "ipac": "IPAC",
    "cds": "CDS/MRT, by its byte-by-byte description", "daophot": "DAOPHOT", "sextractor": "SExtractor ASCII_HEAD",
    "gnuastro": "Gnuastro text", "hats": "HATS", "fixed": "text in columns of fixed width",
}  # fmt: skip
PLAIN = ("ascii", "csv", "tsv", "semicolons")  # text whose kind no line tells for sure: a recipe's word is believed
LINES = (*PLAIN, "sextractor", "gnuastro")  # text whose rows are lines of fields
_MAGIC = {b"SIMPLE": "fits", b"PAR1": "parquet", b"ARROW1": "feather"}
_OTHERS = {  # what is not read: first bytes -> name and remedy
    b"\x89HDF": ("an HDF5 file", "write its table as Parquet or FITS"),
    b"SQLite format 3": ("an SQLite database", "export its table as CSV"),
    b"\x93NUMPY": ("a NumPy array", "write it as CSV, FITS or Parquet, with named columns, ids among them"),
    b"#ASDF": ("an ASDF file", "write its table as FITS or Parquet"),
    b"FEA1": ("a Feather file of version 1", "write it again with pyarrow.feather, or as Parquet"),
    b"\xff\xff\xff\xff": ("an Arrow stream", "write it as Feather or Parquet"),
    b"Obj\x01": ("an Avro file", "write it as Parquet"),
    b"\xd0\xcf\x11\xe0": ("a spreadsheet", "save it as CSV"),
    b"%PDF": ("a PDF document", "fetch the table itself"),
}
_CONTROL = bytes([*range(9), *range(14, 32)])
_RULE = re.compile(r" *-+ *(?:(?:\t *-+ *)+|(?:; *-+ *)+)")
_SEXTRACTOR = re.compile(r"#\s*(\d+)\s+[A-Za-z]\S*(\s|$)")
_GNUASTRO = re.compile(r"#\s*Column\s+\d+\s*:", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Found:
    """A file's format, and how it is packed (None: not)."""

    format: str
    packing: str | None

    def __str__(self) -> str:
        return WORDS[self.format] + (f", {self.packing}" if self.packing else "")


def identify(path: Path) -> Found:
    """The format of a table. InputError for what cannot be read, with the remedy; raises what ``streams.FAULTS``
    lists for a file that cannot be opened or unpacked."""
    packed = streams.packing(path)
    with streams.unpacked(path) as stream:
        head = stream.read(HEAD)
    for magic, (what, remedy) in _OTHERS.items():
        if head.startswith(magic):
            raise InputError(f"{path}: is {what}, which is not read; {remedy}")
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise InputError(f"{path}: text in UTF-16; save it as UTF-8")
    found = next((format for magic, format in _MAGIC.items() if head.startswith(magic)), None)
    return Found(format=found or _text(path, head), packing=packed)


def _text(path: Path, head: bytes) -> str:
    if len(head) > 64 and len(head) - len(head.translate(None, delete=_CONTROL)) > len(head) // 20:
        raise InputError(
            f"{path}: is a binary file of a kind that is not known; write its table as FITS, Parquet or CSV"
        )
    text = head.decode("utf-8-sig", "surrogateescape")
    start = text.lstrip()[:4096]
    if start.startswith("<"):
        if "<VOTABLE" in text or re.search(r"<\w+:VOTABLE", text):
            return "votable"
        web = re.match(r"(?is)<!doctype html|<html", start)
        what = "a web page (an error of a server?)" if web else "an XML file, but no VOTable"
        raise InputError(f"{path}: is {what}; fetch the table again, as CSV, FITS or VOTable")
    if re.match(r"[{\[]\s*[\"\[{]", start):
        raise InputError(f"{path}: is JSON, which is not read; write it as CSV or Parquet")
    if re.match(r"\\(begin|documentclass)\b", start):
        raise InputError(f"{path}: is LaTeX, which is not read; write it as CSV or ECSV")
    lines = text.splitlines()[: -1 if len(head) == HEAD else None]
    return _marked(path, lines) or _plain([line for line in lines if line.strip()])


def _marked(path: Path, lines: Sequence[str]) -> str | None:
    """The formats whose own lines tell what they are."""
    filled = [line for line in lines if line.strip()]
    first = filled[0] if filled else ""
    comments = [line for line in filled if line.startswith("#")]
    if re.match(r"#\s*%ECSV", first):
        return "ecsv"
    if ruled.found(filled):
        return "fixed"
    if first.startswith(("\\", "|")) and any(line.startswith("|") for line in filled):
        return "ipac"
    if any(line.startswith("Byte-by-byte Description of file") for line in filled) or readme(path) is not None:
        return "cds"
    if first.startswith(("#K ", "#N ")):
        return "daophot"
    if any(map(_GNUASTRO.match, comments)):
        return "gnuastro"
    numbered = [found for line in comments if (found := _SEXTRACTOR.match(line))]
    counts = [int(found[1]) for found in numbered]
    if comments and len(numbered) == len(comments) and counts[0] == 1 and counts == sorted(set(counts)):
        return "sextractor"
    return None


def described_name(path: Path) -> str:
    """The name by which a ReadMe knows a table: that of the unpacked file."""
    return path.stem if path.suffix in (".gz", ".bz2", ".xz", ".zst") else path.name


def readme(path: Path) -> Path | None:
    """The ReadMe beside a table of VizieR, if it describes the table byte by byte."""
    beside = path.with_name("ReadMe")
    name = described_name(path)
    try:
        text = beside.read_text(encoding="utf-8", errors="replace") if beside.is_file() else ""
    except OSError:
        return None
    described = re.findall(r"(?m)^Byte-by-byte Description of file: *(.+?) *$", text)
    return beside if any(name in re.split(r"[\s,]+", names) for names in described) else None


def _plain(lines: Sequence[str]) -> str:
    """csv, tsv, semicolons or ascii: what separates the names of the header, and the values of the first row."""
    data = [line for line in lines if not line.lstrip().startswith("#")]
    comments = [line.lstrip("# ") for line in lines[: len(lines) - len(data)] if line.strip("# \t")]
    if dashes := next(filter(_RULE.fullmatch, data[:30]), None):
        return "tsv" if "\t" in dashes else "semicolons"
    look = data[:2] if len(data) > 1 else [*comments[-1:], *data]
    for format, split in (("tsv", _tabbed), ("csv", _fields)):
        widths = {len(split(line)) for line in look}
        if look and min(widths) > 1 and (format == "csv" or len(widths) == 1):
            return format
    widths = {len(_fields(line, ";")) for line in look}
    return "semicolons" if widths and min(widths) > 1 and len(widths) == 1 else "ascii"


def _tabbed(line: str) -> list[str]:
    return line.rstrip("\r\n").split("\t")


def _fields(line: str, delimiter: str = ",") -> list[str]:
    try:
        return next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])
    except csv.Error:
        return line.split(delimiter)


def check(path: Path, found: Found, format: str) -> str:
    """The format to read a file in, when the recipe says ``format``. InputError when the file says another one."""
    format = "parquet" if format == "hats" else format
    if format == "ascii" and found.format == "fixed":
        return "fixed"
    if format in ("auto", found.format) or (format in PLAIN and found.format in PLAIN):
        return found.format if format == "auto" else format
    what = WORDS[found.format]
    if found.format in PLAIN and format in ("fits", "parquet"):
        raise InputError(f"{path}: is neither a FITS nor a Parquet file, the recipe says format: {format}; say format: "
                         "ascii or csv, or leave format out")  # fmt: skip
    what = {"fits": "a FITS file", "parquet": "a Parquet file"}.get(found.format, f"a table in {what}")
    raise InputError(f"{path}: is {what}, the recipe says format: {format}; say format: {found.format}, or leave "
                     "format out")  # fmt: skip
