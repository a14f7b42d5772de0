"""Random tables as astropy, pyarrow, fitsio, STILTS, fpack and source-extractor write them, of all types that a format
has: every value read."""

import importlib.util
import shutil
import subprocess
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pytest
from astropy.io import fits
from astropy.table import MaskedColumn, Table
from pyarrow import feather, parquet

from hpc_astrossl.errors import InputError
from hpc_astrossl.tables.tables import read_table

WHOLE = {f"{sign}{8 * size}": np.dtype(f"{sign}{size}") for sign in "iu" for size in (1, 2, 4, 8)}
PLAIN = "abcXYZ 0189_.-+"
MORE = PLAIN + ",;'\"#|\\/:=&<>%\t\u00e9\u03b1\u661f\U0001f30c"
ROUNDS = 6


@dataclass(frozen=True, kw_only=True)
class Form:
    """What a format has: characters of texts, types of whole numbers, which of them have nulls, and vectors."""

    letters: str = PLAIN
    whole: tuple[str, ...] = tuple(WHOLE)
    nulls: tuple[str, ...] = tuple(WHOLE)
    reals: bool = True  # have nulls
    booleans: str = "plain"  # none, plain, or with nulls
    vectors: bool = True
    text: bool = False  # numbers are written in decimal digits
    mild: bool = False  # real numbers are doubles of few digits: writers shorten others


DECIMAL = ("i16", "i32", "i64")
SIGNED = ("u8", "i16", "i32", "i64")  # of FITS and VOTable, without TZERO
BINARY = Form(nulls=SIGNED)
LINES = Form(letters=MORE.replace("\t", ""), booleans="nulls", vectors=False, text=True)
ARROW = Form(letters=MORE, booleans="nulls")
PRINTED = Form(letters=PLAIN + ",;'#%", whole=DECIMAL, nulls=DECIMAL, booleans="none", vectors=False, text=True)
VOTABLE = Form(letters=PLAIN + "<>&\"'\u00e9\u03b1", whole=SIGNED, nulls=SIGNED, booleans="nulls")
FORMS = {
    "csv": LINES, "tsv": LINES, "ascii": LINES, "commented": LINES,
    "ecsv": Form(letters=MORE.replace("\t", ""), booleans="nulls", text=True),
    "votable tabledata": VOTABLE, "votable binary": replace(VOTABLE, nulls=(), booleans="plain"),
    "votable binary2": VOTABLE,
    "fits": replace(BINARY, whole=tuple(name for name in WHOLE if name != "i8")),  # which astropy writes as booleans
    "fitsio": Form(nulls=()), "fits ascii": Form(whole=("i16", "i32"), nulls=("i16", "i32"),
    reals=False, booleans="none", vectors=False, text=True),
    "ipac": Form(letters=PLAIN + "\"',;", whole=("i16", "i32", "i64"), nulls=("i16", "i32", "i64"), booleans="none",
                 vectors=False, text=True),
    "rdb": Form(letters=PLAIN, whole=("i16", "i32", "i64"), nulls=(), booleans="none", vectors=False, text=True),
    "fixed_width": PRINTED, "fixed_width_two_line": PRINTED, "rst": PRINTED,
    "mrt": replace(PRINTED, letters=PLAIN, nulls=(), reals=False, mild=True),
    "parquet": ARROW, "feather": ARROW, "parquet by astropy": Form(letters=MORE),
}  # fmt: skip


def drawn(source, form, rows):
    """Columns of a random table: name -> (values, True where there is none)."""
    columns = {}
    letters = list(form.letters)
    for name in ("name", "note"):
        texts = ["".join(source.choice(letters, source.integers(0, 9))) for _ in range(rows)]
        columns[name] = np.array([f"x{text}x" for text in texts]), np.zeros(rows, bool)
    for name in form.whole:
        low, high = np.iinfo(WHOLE[name]).min, np.iinfo(WHOLE[name]).max
        values = source.integers(low, high, rows, WHOLE[name], endpoint=True)
        odd = np.array([low + 1, high, 0, 1, high - 1], dtype=WHOLE[name])
        values = np.where(source.random(rows) < 0.5, source.choice(odd, rows), values)
        null = (source.random(rows) < 0.3) & (name in form.nulls)
        stands = 255 if name == "u8" else low  # for no value
        values[~null & (values == stands) & (name in form.nulls)] = 7
        columns[name] = values, null
    for name, kind in (("f32", np.float32), ("f64", np.float64))[form.mild :]:
        values = (source.normal(size=rows) * 10.0 ** source.integers(-30, 30, rows)).astype(kind)
        values = np.round(source.uniform(1, 9, rows), 3).astype(kind) if form.mild else values
        columns[name] = values, (source.random(rows) < 0.3) & form.reals
    if form.booleans != "none":
        columns["flag"] = source.random(rows) < 0.5, (source.random(rows) < 0.3) & (form.booleans == "nulls")
    if form.vectors:
        for name, kind in (("v_f64", np.float64), ("v_i32", np.int32), ("v_i64", np.int64)):
            values = source.integers(-(2**31), 2**31 - 1, (rows, 3)).astype(kind)
            columns[name] = values / 3 if kind is np.float64 else values, np.zeros(rows, bool)
    return columns


def as_astropy(columns):
    """Nulls are masked; of floating-point numbers they are NaN."""
    made = {}
    for name, (values, null) in columns.items():
        if values.dtype.kind == "f" and values.ndim == 1:
            values = np.where(null, np.nan, values).astype(values.dtype)
            null = np.zeros(len(values), bool)
        if null.any():
            filler = np.iinfo(values.dtype).min if values.dtype.kind in "iu" else False
            filler = 255 if values.dtype == np.uint8 else filler
            made[name] = MaskedColumn(np.where(null, filler, values).astype(values.dtype), mask=null, fill_value=filler)
        else:
            made[name] = values
    return Table(made)


def as_arrow(columns):
    return pa.table({name: pa.array(values.tolist() if values.ndim > 1 else values, mask=None if values.ndim > 1 else
                                    null) for name, (values, null) in columns.items()})  # fmt: skip


def ascii_columns(columns):
    """Of a FITS ASCII table."""
    for name, (values, null) in columns.items():
        if values.dtype.kind == "U":
            yield fits.Column(name, f"A{max(map(len, values))}", array=values)
        elif values.dtype.kind == "i":
            yield fits.Column(name, "I12", null="-32768", ascii=True, array=np.where(null, -32768, values))
        else:
            yield fits.Column(name, "D25.17", ascii=True, array=np.where(null, 0, values))


def write(kind, columns, path):
    if kind in ("parquet", "feather"):
        (parquet.write_table if kind == "parquet" else feather.write_feather)(as_arrow(columns), path)
    elif kind == "fitsio":
        import fitsio

        filled = {name: np.where(null, np.nan, values).astype(values.dtype) if values.dtype.kind == "f"
                  and values.ndim == 1 else values for name, (values, null) in columns.items()}  # fmt: skip
        fitsio.write(str(path), filled, clobber=True)
    elif kind == "fits ascii":
        fits.TableHDU.from_columns(list(ascii_columns(columns))).writeto(path, overwrite=True)
    elif kind.startswith("votable"):
        as_astropy(columns).write(path, format="votable", tabledata_format=kind.split()[1], overwrite=True)
    else:
        format, more = {
            "csv": ("ascii.csv", {}), "tsv": ("ascii.csv", {"delimiter": "\t"}), "ecsv": ("ascii.ecsv", {}),
            "ascii": ("ascii.basic", {}), "commented": ("ascii.commented_header", {}), "ipac": ("ascii.ipac", {}),
             "rdb": ("ascii.rdb", {}), "parquet by astropy": ("parquet", {}),
            **{name: (f"ascii.{name}", {}) for name in ("fixed_width", "fixed_width_two_line", "rst", "mrt")},
        }.get(kind, (kind, {}))  # fmt: skip
        as_astropy(columns).write(path, format=format, overwrite=True, **more)


def assert_same(path, columns, form):
    """Every value, by each of the ways in which it can be asked for."""
    elements = {f"{name}[{i}]": (values[:, i], null) for name, (values, null) in columns.items() if values.ndim > 1
                for i in range(values.shape[1])}  # fmt: skip
    flat = {name: pair for name, pair in columns.items() if pair[0].ndim == 1} | elements
    numbers = {name: pair for name, pair in flat.items() if pair[0].dtype.kind in "iuf"}
    if not form.text:
        numbers |= {name: pair for name, pair in flat.items() if pair[0].dtype.kind == "b"}
    found = read_table(path, dict.fromkeys(numbers, "number"))
    for name, (values, null) in numbers.items():
        got = found[name].astype(np.float32) if name == "f32" and form.text else found[name]
        expected = np.where(null, np.nan, values.astype(np.float64))
        np.testing.assert_array_equal(got, expected, err_msg=name)
    texts = {name: pair for name, pair in flat.items() if pair[0].dtype.kind in "iuU"}
    for kind in ("text", "label"):
        found = read_table(path, dict.fromkeys(texts, kind))
        for name, (values, null) in texts.items():
            expected = ["" if no else str(value) for value, no in zip(values.tolist(), null, strict=True)]
            assert found[name].tolist() == expected, (kind, name)
    labels = {name: pair for name, pair in flat.items() if pair[0].dtype.kind in "bf"}
    found = read_table(path, dict.fromkeys(labels, "label"))
    for name, (values, null) in labels.items():
        got = found[name].tolist()
        assert [text == "" for text in got] == null.tolist(), name
        if values.dtype.kind == "f":
            assert [values.dtype.type(text) for text in got if text] == values[~null].tolist(), name
        else:
            assert [text.lower()[0] for text in got if text] == [str(value).lower()[0] for value in values[~null]], name


@pytest.mark.parametrize("kind", FORMS)
def test_every_value_of_every_type_comes_back(tmp_path, kind):
    if kind == "fitsio" and importlib.util.find_spec("fitsio") is None:
        pytest.skip("fitsio is not installed")
    for seed in range(ROUNDS):
        source = np.random.default_rng(seed)
        columns = drawn(source, FORMS[kind], int(source.integers(1, 9)))
        write(kind, columns, tmp_path / "t")
        assert_same(tmp_path / "t", columns, FORMS[kind])


WRITTEN = Form(whole=("u8", *DECIMAL), nulls=DECIMAL, booleans="none")  # what STILTS takes from FITS as it is
STILTS = {
    "fits-basic": WRITTEN, "fits-plus": WRITTEN, "votable-binary2-inline": WRITTEN, "votable-tabledata": WRITTEN,
    "csv": replace(WRITTEN, vectors=False, text=True), "tst": replace(WRITTEN, vectors=False, text=True),
    "ascii": replace(WRITTEN, vectors=False, text=True),
    "ipac": replace(WRITTEN, vectors=False, text=True, mild=True),
}  # fmt: skip


@pytest.mark.skipif(shutil.which("stilts") is None, reason="STILTS is not installed")
@pytest.mark.parametrize("kind", STILTS)
@pytest.mark.slow
def test_every_value_that_stilts_writes_comes_back(tmp_path, kind):
    source = np.random.default_rng(len(kind))
    columns = drawn(source, STILTS[kind], 40)
    write("fits", columns, tmp_path / "in.fits")
    subprocess.run(["stilts", "tcopy", "in=in.fits", "ifmt=fits", "out=t", f"ofmt={kind}"], cwd=tmp_path, check=True,
                   capture_output=True)  # fmt: skip
    assert_same(tmp_path / "t", columns, STILTS[kind])


@pytest.mark.skipif(shutil.which("fpack") is None, reason="fpack is not installed")
@pytest.mark.slow
def test_every_value_that_fpack_has_packed_comes_back(tmp_path):
    """Packed it is named, with the command that unpacks it; unpacked it is what it was."""
    columns = drawn(np.random.default_rng(0), FORMS["fits"], 3000)
    write("fits", columns, tmp_path / "t.fits")
    subprocess.run(["fpack", "-table", "t.fits"], cwd=tmp_path, check=True, capture_output=True)
    with pytest.raises(InputError, match=r"compressed with fpack; unpack it first \(funpack\)"):
        read_table(tmp_path / "t.fits.fz", {"i32": "number"})
    (tmp_path / "t.fits").unlink()
    subprocess.run(["funpack", "t.fits.fz"], cwd=tmp_path, check=True, capture_output=True)
    assert_same(tmp_path / "t.fits", columns, FORMS["fits"])


EXTRACTOR = shutil.which("source-extractor") or shutil.which("sex")
MEASURED = ("NUMBER", "X_IMAGE", "Y_IMAGE", "ALPHA_J2000", "FLUX_AUTO", "MAG_AUTO", "FLAGS", "FLUX_APER(2)", "A_IMAGE")


@pytest.mark.skipif(EXTRACTOR is None, reason="source-extractor is not installed")
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.slow
def test_every_value_that_source_extractor_writes_comes_back(tmp_path, seed):
    """Random columns in a random order; the binary catalogues bit by bit, the text as its own digits say."""
    source = np.random.default_rng(seed)
    image = source.normal(0, 1, (90, 110)).astype(np.float32)
    for x, y in source.integers(10, 80, (9, 2)):
        image[y : y + 3, x : x + 3] += source.uniform(50, 900)
    fits.writeto(tmp_path / "image.fits", image)
    columns = [str(name) for name in source.permutation(MEASURED)[:6]]
    (tmp_path / "some.param").write_text("\n".join(dict.fromkeys([*columns, "NUMBER", "FLUX_APER(2)"])) + "\n")
    options = {"PARAMETERS_NAME": "some.param", "FILTER": "N", "PHOT_APERTURES": "4,7", "VERBOSE_TYPE": "QUIET",
               "STARNNW_NAME": "none"}  # fmt: skip
    for kind in ("ASCII_HEAD", "FITS_LDAC", "FITS_1.0"):
        given = options | {"CATALOG_NAME": kind, "CATALOG_TYPE": kind}
        words = [word for name, value in given.items() for word in (f"-{name}", value)]
        subprocess.run([EXTRACTOR, "image.fits", *words], cwd=tmp_path, check=True, capture_output=True)
    table = Table.read(tmp_path / "FITS_1.0", hdu=1)
    lines = [line.split() for line in (tmp_path / "ASCII_HEAD").read_text().splitlines() if not line.startswith("#")]
    at = 0
    for name in table.colnames:
        for element in range(table[name].size // len(table)):
            wanted = f"{name}[{element}]" if table[name].ndim > 1 else name
            values = table[name][:, element] if table[name].ndim > 1 else table[name]
            for kind in ("FITS_LDAC", "FITS_1.0"):
                read = read_table(tmp_path / kind, {wanted: "number"})[wanted]
                np.testing.assert_array_equal(read, np.asarray(values, dtype=float), err_msg=f"{kind} {wanted}")
            read = read_table(tmp_path / "ASCII_HEAD", {wanted: "number"})[wanted]
            np.testing.assert_array_equal(read, [float(line[at]) for line in lines], err_msg=wanted)
            at += 1
    assert at == len(lines[0])
    assert len(lines) == len(table) > 3


def test_a_mask_that_astropy_writes_beside_the_values_of_parquet(tmp_path):
    """The number below the mask is what was there before, and no value: of vectors' elements, too."""
    table = Table({"T": MaskedColumn([5, -99], mask=[False, True]), "ID": MaskedColumn(["a", "b"], mask=[False, True]),
                   "V": MaskedColumn([[1.0, 2], [3, 4]], mask=[[False, False], [False, True]])})  # fmt: skip
    table.write(tmp_path / "t", format="parquet")
    found = read_table(tmp_path / "t", {"T": "number", "ID": "text", "V[0]": "number", "V[1]": "number"})
    assert found["ID"].tolist() == ["a", ""]
    for name, values in {"T": [5, np.nan], "V[0]": [1, 3], "V[1]": [2, np.nan]}.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name)
    assert read_table(tmp_path / "t", {"T": "label"})["T"].tolist() == ["5", ""]
    parquet.write_table(pa.table({"T": [5, -99], "T.mask": [False, True]}), tmp_path / "u")  # not astropy's: a name
    assert read_table(tmp_path / "u", {"T": "number"})["T"].tolist() == [5, -99]


def test_nan_of_a_number_is_no_label(tmp_path):
    lines = ["|T     |N   |", "|double|char|", " nan    nan  ", " 1.5    b    "]
    (tmp_path / "t").write_text("\n".join(lines) + "\n")
    found = read_table(tmp_path / "t", {"T": "label", "N": "label"})
    assert (found["T"].tolist(), found["N"].tolist()) == (["", "1.5"], ["nan", "b"])


def test_types_without_widths_are_no_row(tmp_path):
    (tmp_path / "t").write_text("id\tclass\tz\nS\tS\tN\na\tb\t1.5\n")
    assert read_table(tmp_path / "t", {"id": "text", "class": "label"})["id"].tolist() == ["a"]
    (tmp_path / "t").write_text("id\tclass\nS\tN\na\tb\n")  # flags, as no number follows
    assert read_table(tmp_path / "t", {"id": "text", "class": "label"})["id"].tolist() == ["S", "a"]
