"""Text tables: where the header is, what a number is, and what is said of a table that is not as the recipe says."""

import gc
import warnings

import numpy as np
import pyarrow as pa
import pytest
from astropy.io import fits
from astropy.table import Table
from pyarrow import parquet

from hpc_astrossl.errors import InputError
from hpc_astrossl.tables import fits_tables, slow_text, text_tables
from hpc_astrossl.tables.tables import files, read_table, read_tables

WANTED = {"ID": "text", "RA": "number"}


def read(tmp_path, text, wanted=WANTED, **options):
    path = tmp_path / "table.txt"
    path.write_text(text, encoding="utf-8")
    return read_table(path, wanted, **options)


@pytest.mark.parametrize(
    "text",
    [
        "# ID RA X\na 1.5 0\nb nan 0\n",
        "#ID RA X\na 1.5 0\nb nan 0\n",
        "# a table of ID and more\n# ID RA X\n#\n a  1.5\t0\n\n# between\nb nan 0\n",
        "ID RA X\na 1.5 0\nb nan 0\n",
        "# an explanation\nID RA X\na 1.5 0\nb nan 0\n",
        "\ufeffID RA X\na 1.5 0\nb -- 0",
    ],
)
def test_the_header_is_a_comment_line_or_the_first_line(tmp_path, text):
    table = read(tmp_path, text)
    assert table["ID"].tolist() == ["a", "b"]
    np.testing.assert_array_equal(table["RA"], [1.5, np.nan])


@pytest.mark.parametrize("text", ["ID,RA\na,1.5\nb,\n", '# ID, RA\n"a", 1.5\n\nb,null\n'])
def test_csv(tmp_path, text):
    table = read(tmp_path, text, format="csv")
    assert table["ID"].tolist() == ["a", "b"]
    np.testing.assert_array_equal(table["RA"], [1.5, np.nan])


def test_names_of_the_first_columns_may_come_from_the_recipe(tmp_path):
    table = read(tmp_path, "# no names\nx a 7 8\ny b 6 9\n", {"B": "text", "C": "number"}, names=["A", "B", "C"])
    assert table["B"].tolist() == ["a", "b"]
    assert table["C"].tolist() == [7, 6]


def test_blocks_do_not_show(tmp_path, monkeypatch):
    text = "# ID RA\n" + "".join(f"{'long' * (i % 3)}id{i} {i}\n" for i in range(10))
    whole = read(tmp_path, text)
    monkeypatch.setattr(text_tables, "BLOCK", 40)
    monkeypatch.setattr(slow_text, "SLOW_BLOCK", 3)
    parts = read(tmp_path, text)
    assert whole["ID"].tolist() == parts["ID"].tolist()
    assert parts["RA"].tolist() == list(range(10))
    by_hand = read(tmp_path, text.replace("id9 9", '"id9" 9'))
    assert by_hand["RA"].tolist() == parts["RA"].tolist()


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        ("# ID Ra Dec RAERR\na 1 2 3\n", {}, r"no column 'RA'; nearest: Ra, RAERR. The recipe says"),
        ("# ID alpha\na 1\n", {}, r"no column 'RA'; it has: ID, alpha"),
        ("ID,ra\na,1\n", {"format": "csv"}, r"no column 'RA'; nearest: ra"),
        ("# ID RA RA\na 1 1\n", {}, r"column 'RA' stands 2 times in the header"),
        ("# ID RA\na 1\nb\n", {}, r"line 3: 1 columns, expected 2, as the header"),
        ("# ID RA\na 1\nb 2 3\n", {}, r"line 3: 3 columns, expected 2, as the header"),
        ("a 1\nb\n", {"names": ["ID", "RA"]}, r"line 2: 1 columns, expected 2, as the first row has"),
        ("# ID RA\na 1\nb 12:30\n", {}, r"line 3: expected a number in column 2 \(RA\), found '12:30'"),
        ("# ID RA\n", {}, r"the table has no rows"),
        ("", {}, r"no column 'ID'; it has: no header"),
        ("", {"format": "csv"}, r"no column 'ID'; it has: no header"),
    ],
)
def test_what_is_wrong_is_named_with_file_and_line(tmp_path, text, options, words):
    with pytest.raises(InputError, match=words) as caught:
        read(tmp_path, text, **options)
    assert str(caught.value).startswith(str(tmp_path / "table.txt"))


def test_a_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"absent.cat: no such file; the recipe expects this table"):
        read_table(tmp_path / "absent.cat", WANTED)


@pytest.mark.parametrize(
    ("content", "format", "words"),
    [
        (b"# ID RA\n\xe9toile 1\n", "ascii", r"cannot be read as a text table .*0xe9.*save it as UTF-8"),
        (b"ID,RA\n\xe9toile,1\n", "csv", r"cannot be read as a text table .*0xe9.*save it as UTF-8"),
        ("ID,RA\na,1\n".encode("utf-16"), "csv", r"text in UTF-16; save it as UTF-8"),
        (b"\x1f\x8b\x08\x00", "csv", r"cut off: the packed file ends too early; copy it again"),
        (
            b"SIMPLE  =  T",
            "ascii",
            r"is a FITS file, the recipe says format: ascii; say format: fits",
        ),
        (b"PAR1", "csv", r"is a Parquet file, the recipe says format: csv; say format: parquet"),
        (b"# ID RA\n", "parquet", r"is neither a FITS nor a Parquet file, the recipe says format: parquet"),
        (b"PAR1PAR1", "parquet", r"cannot be read as a Parquet table"),
        (b"SIMPLE  =", "fits", r"cannot be read as a FITS table"),
    ],
)
def test_another_encoding_or_kind_of_file(tmp_path, content, format, words):
    path = tmp_path / "table"
    path.write_bytes(content)
    with pytest.raises(InputError, match=words) as caught:
        read_table(path, WANTED, format=format)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize("format", ["ascii", "csv"])
def test_columns_that_are_not_asked_for_are_not_looked_at(tmp_path, format):
    text = "# ID RA note\na 1.5 x\nb nan 12:30\n"
    path = tmp_path / "table.txt"
    path.write_bytes((text if format == "ascii" else text[2:].replace(" ", ",")).encode().replace(b"x", b"\xe9"))
    assert read_table(path, WANTED, format=format)["ID"].tolist() == ["a", "b"]


def test_quoted_commas_and_line_breaks(tmp_path):
    table = read(tmp_path, 'ID,note,RA\n"a, the first","one\ntwo",1\n b ,"",2\n', format="csv")
    assert table["ID"].tolist() == ["a, the first", "b"]
    assert table["RA"].tolist() == [1, 2]


COLUMNS = {
    "ID": np.array(["a1", "b", "c"]),
    "RA": np.array([1.5, np.nan, -3]),
    "flag": np.array([0, 1, 2], dtype=np.int32),
    "number": np.array([2**63 + 1, 5, 7], dtype=np.uint64),
    "wave": np.zeros((3, 4)),
}
BINARY = {"ID": "text", "RA": "number", "flag": "number", "number": "text"}


def write_fits(path, columns=COLUMNS):
    Table(columns).write(path, format="fits")
    return path


def write_parquet(path, columns=COLUMNS):
    arrays = {name: pa.array(values.tolist() if values.ndim > 1 else values) for name, values in columns.items()}
    parquet.write_table(pa.table(arrays), path)
    return path


@pytest.mark.parametrize(("format", "write", "name"), [("fits", write_fits, "table.fits"),
    ("fits", write_fits, "table.fits.fz"), ("parquet", write_parquet, "table.parquet")])  # fmt: skip
def test_binary_tables(tmp_path, monkeypatch, format, write, name):
    monkeypatch.setattr(fits_tables, "BLOCK", 100)
    table = read_table(write(tmp_path / name), BINARY, format=format)
    assert table["ID"].tolist() == ["a1", "b", "c"]
    np.testing.assert_array_equal(table["RA"], COLUMNS["RA"])
    assert table["flag"].tolist() == [0, 1, 2]
    assert table["number"].tolist() == ["9223372036854775809", "5", "7"]
    assert {values.dtype.kind for values in table.values()} == {"U", "f"}


def test_null_and_scaled_values_of_a_fits_table(tmp_path):
    columns = [fits.Column("ID", "2A", array=["a", "b"]), fits.Column("T", "J", null=-99, array=[3, -99]),
               fits.Column("RA", "I", array=[2, 5]),
               fits.Column("n", "I", bzero=32768, array=np.array([1, 40000], dtype=np.uint16))]  # fmt: skip
    unit = fits.BinTableHDU.from_columns(columns)
    unit.writeto(tmp_path / "t.fits")
    with fits.open(tmp_path / "t.fits", mode="update") as units:
        units[1].header.update({"TSCAL3": 0.5, "TZERO3": 10})
    table = read_table(tmp_path / "t.fits", {"RA": "number", "T": "number", "n": "text"}, format="fits")
    assert table["RA"].tolist() == [11, 12.5]
    np.testing.assert_array_equal(table["T"], [3, np.nan])
    assert table["n"].tolist() == ["1", "40000"]


def test_nulls_of_a_parquet_table(tmp_path):
    parquet.write_table(pa.table({"ID": ["a", None], "RA": [None, 2]}), tmp_path / "t.parquet")
    table = read_table(tmp_path / "t.parquet", WANTED, format="parquet")
    assert table["ID"].tolist() == ["a", ""]
    np.testing.assert_array_equal(table["RA"], [np.nan, 2])


@pytest.mark.parametrize(("format", "write"), [("fits", write_fits), ("parquet", write_parquet)])
@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"Ra": "number"}, r"no column 'Ra'; nearest: RA"),
        ({"ID": "number"}, r"column 'ID' .*expected a number"),
        ({"wave": "number"}, r"column 'wave' .*expected a number"),
    ],
)
def test_what_is_wrong_with_a_binary_table(tmp_path, format, write, wanted, words):
    with pytest.raises(InputError, match=words):
        read_table(write(tmp_path / "table"), wanted, format=format)


@pytest.mark.parametrize(("format", "write"), [("fits", write_fits), ("parquet", write_parquet)])
def test_a_binary_table_without_rows(tmp_path, format, write):
    path = tmp_path / "table"
    if format == "fits":
        write(path, {name: values[:0] for name, values in COLUMNS.items()})
    else:
        parquet.write_table(pa.table({name: pa.array([], pa.float64()) for name in COLUMNS}), path)
    with pytest.raises(InputError, match="the table has no rows"):
        read_table(path, {"RA": "number"}, format=format)


def test_fits_files_that_hold_no_readable_table(tmp_path):
    fits.PrimaryHDU(np.zeros((4, 4))).writeto(tmp_path / "image.fits")
    fits.CompImageHDU(np.zeros((40, 40), np.float32)).writeto(tmp_path / "image.fits.fz")
    for name in ("image.fits", "image.fits.fz"):
        with pytest.raises(InputError, match=r"holds no table in its . units; is this an image"):
            read_table(tmp_path / name, WANTED, format="fits")
    table = fits.BinTableHDU(Table(COLUMNS).as_array())
    table.header["ZTABLE"] = True
    table.writeto(tmp_path / "packed.fits.fz")
    with pytest.raises(InputError, match="a table compressed with fpack; unpack it first"):
        read_table(tmp_path / "packed.fits.fz", WANTED, format="fits")


def test_a_fits_table_cut_off(tmp_path):
    path = write_fits(tmp_path / "t.fits", {"ID": np.full(500, "a"), "RA": np.zeros(500)})
    path.write_bytes(path.read_bytes()[:6000])
    with pytest.raises(InputError, match=r"cut off: 6,000 bytes found, [\d,]+ needed; copy it again"):
        read_table(path, WANTED, format="fits")


def test_files_of_a_pattern_are_read_as_one(tmp_path):
    for name, text in {"b": "# RA ID\n2 b\n", "a": "# ID RA\na 1\n"}.items():
        (tmp_path / f"{name}_master.cat").write_text(text)
    found = files(tmp_path, "*_master.cat")
    assert [path.name for path in found] == ["a_master.cat", "b_master.cat"]
    table = read_tables(found, WANTED)
    assert (table["ID"].tolist(), table["RA"].tolist()) == (["a", "b"], [1, 2])
    assert files(tmp_path, "absent.cat") == [tmp_path / "absent.cat"]
    with pytest.raises(InputError, match=r"\*.fits: no file matches this pattern"):
        files(tmp_path, "*.fits")


def test_files_of_a_pattern_must_agree(tmp_path):
    (tmp_path / "a.cat").write_text("# ID RA X\na 1 1\n")
    (tmp_path / "b.cat").write_text("# ID RA Y\nb 2 1\n")
    with pytest.raises(InputError, match=r"b.cat: other columns than a.cat: 'X' is missing here"):
        read_tables(files(tmp_path, "?.cat"), WANTED)


def test_a_damaged_fits_header_leaves_no_file_open(tmp_path):
    path = tmp_path / "table.fits"
    Table({"ID": ["a", "b"], "RA": [1.0, 2.0]}).write(path)
    data = bytearray(path.read_bytes())
    for place, length, piece in ((4500, 4, b'"'), (113, 0, b"-"), (2402, 2, b",")):  # what fuzzing found
        data[place : place + length] = piece
    path.write_bytes(data)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always", ResourceWarning)
        with pytest.raises(InputError):
            read_table(path, WANTED, format="fits")
        gc.collect()
    assert [str(one.message) for one in heard if one.category is ResourceWarning] == []


@pytest.mark.parametrize("text", ["id|label\na|1\nb|2\n", "id,label\na;1\nb;2\n"])
def test_a_separator_that_separates_nothing_is_told(tmp_path, text):
    """As spreadsheets save CSV where a comma is the decimal sign."""
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(
        InputError, match=r"no column 'label'.* separates none here; save the table as CSV, with commas"
    ):
        read_table(tmp_path / "t.csv", {"label": "text"})
