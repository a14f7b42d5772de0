"""Tables as surveys and their tools write them: known by their bytes, read exactly, or refused with the remedy."""

import bz2
import gzip
import lzma
import shutil
import subprocess
import warnings

import numpy as np
import pyarrow as pa
import pytest
from astropy.io import fits
from astropy.table import MaskedColumn, Table
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import feather, parquet

from hpc_astrossl.errors import InputError
from hpc_astrossl.tables.tables import Reading, described, files, read_table, read_tables

WANTED = {"ID": "text", "RA": "number"}
PACK = {
    "gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress,
    "zst": lambda data: pa.compress(data, codec="zstd", asbytes=True),
}  # fmt: skip


def write(tmp_path, content, name="table"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


SEXTRACTOR = """#   1 NUMBER   Running object number
#   2 X_IMAGE  Object position along x      [pixel]
#   3 MAG_APER Fixed aperture magnitude vector [mag]
#   6 FLAGS    Extraction flags
         1     68.49  -7.7  -8.5  -8.9   1
         2    149.19 -13.4 -13.6 -13.7   0
"""


def test_sextractor_numbers_its_columns(tmp_path):
    path = write(tmp_path, SEXTRACTOR)
    table = read_table(path, {"NUMBER": "text", "MAG_APER[1]": "number", "FLAGS": "number"})
    assert (table["NUMBER"].tolist(), table["MAG_APER[1]"].tolist()) == (["1", "2"], [-8.5, -13.6])
    assert table["FLAGS"].tolist() == [1, 0]
    assert described([path], Reading()) == "SExtractor ASCII_HEAD"
    with pytest.raises(InputError, match=r"no column 'MAG_APER'; nearest: MAG_APER\[0\], MAG_APER\[1\]"):
        read_table(path, {"MAG_APER": "number"})
    with pytest.raises(InputError, match=r"is a table in SExtractor ASCII_HEAD, the recipe says format: ascii"):
        read_table(path, {"NUMBER": "text"}, format="ascii")
    with pytest.raises(InputError, match="names its columns itself, by SExtractor's numbered header; leave names out"):
        read_table(path, {"A": "text"}, names=["A"])


def test_a_vector_that_comes_last(tmp_path):
    text = "# 1 NUMBER\n# 2 FLUX_RADIUS radii [pixel]\n1 4.5 7.5\n2 1.2 2.5\n"
    assert read_table(write(tmp_path, text), {"FLUX_RADIUS[1]": "number"})["FLUX_RADIUS[1]"].tolist() == [7.5, 2.5]


def test_a_column_missing_from_the_header_makes_a_vector_of_two(tmp_path):
    text = "# 1 NUMBER\n# 2 A\n# 4 FLAGS\n1 10 99 3\n"
    assert read_table(write(tmp_path, text), {"FLAGS": "number", "A[0]": "number"})["FLAGS"].tolist() == [3]


def test_gnuastro(tmp_path):
    text = ("# Column 1: ID   [n/a,str6, ] Object id\n# Column 2: RA   [deg,f64,nan] Right ascension\n"
            "# Column 3: FLAG [n/a,i32,-2147483648] flag\na b    1.5 -2147483648\ncdef   nan 7\n")  # fmt: skip
    table = read_table(write(tmp_path, text), WANTED | {"FLAG": "number"})
    assert table["ID"].tolist() == ["a b", "cdef"]
    np.testing.assert_array_equal(table["RA"], [1.5, np.nan])
    np.testing.assert_array_equal(table["FLAG"], [np.nan, 7])
    with pytest.raises(InputError, match="line 3: 1 columns, expected 2"):  # declared wider than what is there
        read_table(write(tmp_path, "# Column 1: ID [n/a,str8,]\n# Column 2: RA [deg,f64,]\ng1 10.5\n"), WANTED)
    with pytest.raises(InputError, match="declared as floating-point numbers"):
        read_table(write(tmp_path, "# Column 1: ID [n/a,f64,]\n# Column 2: RA [deg,f64,]\n1 10.5\n"), WANTED)


@pytest.mark.parametrize(
    "text",
    [
        "#Table1\nID,RA\na,1.5\nb,\n",  # SkyServer and CasJobs
        "# made by a query\n# on a day, in November\nID,RA\na,1.5\nb,null\n",
        '"ID","RA"\n"a","1.5"\n"b",""\n',
        '"ID", "RA"\n"a", 1.5\n"b", nan\n',
        "ID\tRA\na\t1.5\nb\t\n",
        "#VizieR\n#Column\tID\n\nID\tRA\n \tdeg\n---\t------\na\t1.5\nb\t   \n",
        "A Skycat table\n# comment\nID\tRA\n--\t--\na\t1.5\nb\t\n",
        "# an RDB table\nID\tRA\n4S\t5N\na\t1.5\nb\t\n",
        '# %ECSV 1.0\n# ---\n# datatype:\n# - {name: ID, datatype: string}\n# - {name: RA, datatype: float64}\n'
        '# schema: astropy-2.0\nID RA\n"a" 1.5\nb ""\n',
        'ID "r - i" RA\na 7 1.5\n"b" 8 ""\n',
        "|ID  |RA     |\n|char|double |\n|    |deg    |\n|null|null   |\n a    1.5    \n b    null   \n",
        "#N ID       RA        \\\n#U ##       ##        \\\n#F %-9s     %-9.3f\na        1.5       \n"
        "b        INDEF     \n",
    ],
)  # fmt: skip
def test_text_of_any_kind_is_known_by_its_bytes(tmp_path, text):
    table = read_table(write(tmp_path, text), WANTED)
    assert table["ID"].tolist() == ["a", "b"]
    np.testing.assert_array_equal(table["RA"], [1.5, np.nan])


MRT = """Title: A table
Byte-by-byte Description of file: t.txt
--------------------------------------------------------------------------------
   Bytes Format Units  Label  Explanations
--------------------------------------------------------------------------------
   1-  2 A2     ---    ID     A name
   4-  5 I2     h      RAh    Hour
   7-  8 I2     min    RAm    Minute
  10- 13 F4.1   s      RAs    Second
      15 A1     ---    DE-    Sign
  16- 17 I2     deg    DEd    Degree
  19- 20 I2     arcmin DEm    Arcminute
  22- 23 I2     arcsec DEs    Arcsecond
  25- 29 F5.2   mag    Vmag   ?=- Magnitude
  31- 34 F4.2   mag    e_Vmag ? Its error
--------------------------------------------------------------------------------
g1 12 30 00.0 -00 30 00 17.17 0.02
g2 00 00 01.0 +10 00 36       0.03
g3 00 00 01.0 +10 00 36 -
"""


def test_cds_tables_go_by_their_description(tmp_path):
    wanted = {"ID": "text", "Vmag": "number", "e_Vmag": "number", "RAdeg": "number", "DEdeg": "number"}
    table = read_table(write(tmp_path, MRT), wanted)
    assert table["ID"].tolist() == ["g1", "g2", "g3"]
    np.testing.assert_array_equal(table["Vmag"], [17.17, np.nan, np.nan])
    np.testing.assert_array_equal(table["e_Vmag"], [0.02, 0.03, np.nan])
    np.testing.assert_allclose(table["RAdeg"], [187.5, 15 / 3600, 15 / 3600])
    np.testing.assert_allclose(table["DEdeg"], [-0.5, 10.01, 10.01])
    head, _, rows = MRT.partition("g1 ")
    write(tmp_path, head.replace("Title: A table\n", "J/X  Title\n\n").replace("t.txt", "t.dat"), "ReadMe")
    beside = read_table(write(tmp_path, "g1 " + rows, "t.dat"), wanted)
    for name, values in table.items():
        np.testing.assert_array_equal(beside[name], values)


@pytest.mark.parametrize("packing", PACK)
@pytest.mark.parametrize("kind", ["csv", "fits", "parquet", "votable"])
def test_packed_tables_are_unpacked(tmp_path, packing, kind):
    Table({"ID": np.array([2**62, 7]), "RA": [1.5, 2]}).write(
        tmp_path / "t", format={"csv": "ascii.csv"}.get(kind, kind)
    )
    path = write(tmp_path, PACK[packing]((tmp_path / "t").read_bytes()), "packed")
    table = read_table(path, WANTED)
    assert (table["ID"].tolist(), table["RA"].tolist()) == (["4611686018427387904", "7"], [1.5, 2])
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(InputError, match=r"packed: (cut off|cannot be read)"):
        read_table(path, WANTED)


def test_packed_in_two_pieces(tmp_path):
    for packing, pack in PACK.items():
        path = write(tmp_path, pack(b"ID,RA\na,1\n") + pack(b"b,2\n"), packing)
        assert read_table(path, WANTED)["ID"].tolist() == ["a", "b"], packing


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"PK\x03\x04", "is a zip archive; unpack it first: unzip"),
        (b"\x1f\x9d\x90", r"compressed with compress \(.Z\); unpack it first: gzip -d .*uncompress"),
        (b"\x89HDF\r\n\x1a\n", "is an HDF5 file, which is not read; write its table as Parquet or FITS"),
        (b"<!DOCTYPE html><html>502 Bad Gateway</html>", "is a web page"),
        (b"<?xml version='1.0'?><a/>", "an XML file, but no VOTable"),
        (b'[{"ID": 1}]', "is JSON"),
        (bytes(range(256)) * 4, "a binary file of a kind that is not known"),
        (b"\x93NUMPY\x01\x00", "is a NumPy array"),
    ],
)
def test_what_is_not_read_is_named(tmp_path, content, words):
    with pytest.raises(InputError, match=words):
        read_table(write(tmp_path, content), WANTED)


def test_comments_that_look_like_headers(tmp_path):
    text = "# ID RA X\n# the ID is\na 1.5 0\nb 2.5 0\n"
    assert read_table(write(tmp_path, text), WANTED)["RA"].tolist() == [1.5, 2.5]
    with pytest.raises(InputError, match="2 comment lines name the wanted columns, so which column is which"):
        read_table(write(tmp_path, text), {"ID": "text"})


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        ("a 1 17.2\nb 2\n", {"names": ["ID", "RA"]}, "line 2: 2 columns, expected 3, as the first row has"),
        ("a 1\nb 2\n", {"names": ["ID", "RA", "X"]}, "line 1: 2 columns, the recipe's names list 3"),
        ("ID,RA\na,1\n", {"names": ["ID", "RA"]}, "its first line holds the columns' names"),
        ("ID RA\na 1.5\nb 12:30:45.2\n", {}, "line 3: .*sexagesimal position; convert it to decimal degrees"),
        ("ID,RA\n,deg\na,1.5\n", {}, "line 2: looks like a row of units or types"),
        ("ID,RA\nstring,double\na,1.5\n", {}, "line 2: looks like a row of units or types"),
        ("ID,RA\na,1.5\nb,N/A\n", {}, "line 3: .*found 'N/A'; if it stands for no value, list it under null_words"),
        ("ID,RA\n1.2376487e+18,1\n1.2376488e+18,2\n", {}, "was written as a floating-point number"),
        ("ID,RA\n12.0,1\n13.0,2\n", {}, "'12.0' was written as a floating-point number"),
        ("ID\tX\tRA\na\t\t1\n", {"format": "ascii"}, "empty field between tabs"),
        ("ID RA\na 1_0\n", {}, "expected a number .*found '1_0'"),
    ],
)
def test_text_that_would_be_read_wrongly_is_refused(tmp_path, text, options, words):
    with pytest.raises(InputError, match=words):
        read_table(write(tmp_path, text), WANTED, **options)


def test_a_row_of_units_is_seen_where_no_number_is_wanted(tmp_path):
    with pytest.raises(InputError, match="row of units or types"):
        read_table(write(tmp_path, "ID,class\nstr,str\na,b\n"), {"ID": "text", "class": "label"})


def test_words_for_no_value(tmp_path):
    path = write(tmp_path, "ID RA T\na N/A 1\nb -999 N/A\nc 2 --\n")
    table = read_table(path, WANTED | {"T": "label"}, null_words=("N/A", "-999"))
    np.testing.assert_array_equal(table["RA"], [np.nan, np.nan, 2])
    assert table["T"].tolist() == ["1", "", ""]


def test_dots_in_ids_are_no_numbers(tmp_path):
    assert read_table(write(tmp_path, "ID RA\n0001.007 1\nSTRIPE82.1 2\n"), WANTED)["ID"].tolist()[0] == "0001.007"


def test_a_last_line_without_a_line_break_is_told(tmp_path):
    path = write(tmp_path, "ID,RA\na,1.5\nb,18.2", "t.csv")
    assert read_table(path, WANTED)["RA"].tolist() == [1.5, 18.2]
    assert "the last line of t.csv has no line break" in described([path], Reading())
    assert described([write(tmp_path, "ID,RA\na,1.5\n")], Reading()) == "CSV"


INTEGERS = {"I": np.int16, "J": np.int32, "K": np.int64, "UI": np.uint16, "UJ": np.uint32, "UK": np.uint64}


def test_whole_numbers_of_fits_stay_whole(tmp_path):
    columns = {name: np.array([np.iinfo(kind).min + 1, np.iinfo(kind).max], kind) for name, kind in INTEGERS.items()}
    Table(columns).write(tmp_path / "t.fits")
    texts = read_table(tmp_path / "t.fits", dict.fromkeys(columns, "text"))
    numbers = read_table(tmp_path / "t.fits", dict.fromkeys(columns, "number"))
    for name, values in columns.items():
        assert texts[name].tolist() == [str(value) for value in values.tolist()], name
        assert numbers[name].tolist() == [float(value) for value in values.tolist()], name


def test_flags_of_64_unsigned_bits(tmp_path):
    Table({"F": np.array([0, 1, 511, 512], dtype=np.uint64)}).write(tmp_path / "t.fits")
    assert read_table(tmp_path / "t.fits", {"F": "number"})["F"].tolist() == [0, 1, 511, 512]


def test_nulls_and_booleans_of_fits(tmp_path):
    columns = [fits.Column("T", "J", null=-99, array=[3, -99]), fits.Column("L", "L", array=[True, False]),
               fits.Column("ID", "4A", array=["a", ""])]  # fmt: skip
    fits.BinTableHDU.from_columns(columns).writeto(tmp_path / "t.fits")
    table = read_table(tmp_path / "t.fits", {"T": "label", "L": "label", "ID": "text"})
    assert table["T"].tolist() == ["3", ""]
    assert table["L"].tolist() == ["true", "false"]
    assert read_table(tmp_path / "t.fits", {"L": "number"})["L"].tolist() == [1, 0]


@pytest.mark.parametrize("kind", ["fits", "parquet", "votable", "ecsv", "feather"])
def test_ids_that_are_floats_are_refused_everywhere_labels_are_not(tmp_path, kind):
    table = Table({"ID": [1.2376487e18, 2.0], "T": np.array([-4.8, 1.5], dtype=np.float32), "RA": [1.5, 2]})
    if kind == "feather":
        feather.write_feather(pa.table({name: np.asarray(table[name]) for name in table.colnames}), tmp_path / "t")
    else:
        table.write(tmp_path / "t", format={"ecsv": "ascii.ecsv"}.get(kind, kind))
    with pytest.raises(InputError, match=r"column 'ID'.*cannot tell long ids apart"):
        read_table(tmp_path / "t", {"ID": "text"})
    labels = read_table(tmp_path / "t", {"T": "label"})["T"].tolist()
    assert labels == ["-4.8", "1.5"]


def test_one_of_several_tables(tmp_path):
    header = fits.BinTableHDU(Table({"Field Header Card": ["SIMPLE"]}), name="LDAC_IMHEAD")
    first = fits.BinTableHDU(Table({"ID": [1, 2], "RA": [1.5, 2.5]}), name="LDAC_OBJECTS")
    other = fits.BinTableHDU(Table({"ID": [3], "Z": [0.5]}), name="MORE")
    path = tmp_path / "t.fits"
    fits.HDUList([fits.PrimaryHDU(), header, first, other]).writeto(path)
    assert read_table(path, WANTED)["ID"].tolist() == ["1", "2"]
    with pytest.raises(InputError, match=r"2 tables have the wanted columns: hdu 2 \(LDAC_OBJECTS\), 3 \(MORE\)"):
        read_table(path, {"ID": "text"})
    assert read_table(path, {"ID": "text"}, hdu=3)["ID"].tolist() == ["3"]
    assert read_table(path, {"ID": "text"}, hdu="more")["ID"].tolist() == ["3"]
    with pytest.raises(InputError, match=r"no table at hdu 7; its tables are: 1 \(LDAC_IMHEAD\), 2"):
        read_table(path, {"ID": "text"}, hdu=7)
    with pytest.raises(InputError, match="no column 'RA'"):
        read_table(path, WANTED, hdu=3)
    with pytest.raises(InputError, match=r"is a single table \(CSV\); leave hdu out"):
        read_table(write(tmp_path, "ID,RA\na,1\n"), WANTED, hdu=1)


def test_fits_ascii_tables(tmp_path):
    columns = [fits.Column("ID", "I6", null="---", array=[1, 200000]), fits.Column("RA", "F8.3", array=[1.5, -2.25]),
               fits.Column("N", "A4", array=["ab", "c d"])]  # fmt: skip
    fits.TableHDU.from_columns(columns).writeto(tmp_path / "t.fits")
    table = read_table(tmp_path / "t.fits", WANTED | {"N": "label"})
    assert (table["ID"].tolist(), table["RA"].tolist()) == (["1", "200000"], [1.5, -2.25])
    assert table["N"].tolist() == ["ab", "c d"]
    data = (tmp_path / "t.fits").read_bytes()
    (tmp_path / "t.fits").write_bytes(data.replace(b"200000", b"   ---"))
    assert read_table(tmp_path / "t.fits", WANTED)["ID"].tolist() == ["1", ""]
    with pytest.raises(InputError, match="floating-point"):
        read_table(tmp_path / "t.fits", {"RA": "text"})


def test_elements_of_vectors(tmp_path):
    values = np.arange(6.0).reshape(2, 3)
    Table({"MAG": values}).write(tmp_path / "t.fits")
    parquet.write_table(pa.table({"MAG": values.tolist()}), tmp_path / "t.parquet")
    Table({"MAG": values}).write(tmp_path / "t.ecsv")
    Table({"MAG": values}).write(tmp_path / "t.xml", format="votable")
    for name in ("t.fits", "t.parquet", "t.ecsv", "t.xml"):
        assert read_table(tmp_path / name, {"MAG[2]": "number"})["MAG[2]"].tolist() == [2, 5], name
        with pytest.raises(InputError, match=r"no \[3\]"):
            read_table(tmp_path / name, {"MAG[3]": "number"})
        with pytest.raises(InputError, match=r"say MAG\[0\] to MAG\[2\]"):
            read_table(tmp_path / name, {"MAG": "number"})
    parquet.write_table(pa.table({"MAG": [[1.0], [1.0, 2.0]]}), tmp_path / "t.parquet")
    with pytest.raises(InputError, match="lists of different lengths"):
        read_table(tmp_path / "t.parquet", {"MAG[0]": "number"})


def test_masked_columns_of_ecsv_and_votable(tmp_path):
    table = Table({"ID": ["a", "b"], "T": MaskedColumn([2**60 + 1, 4], mask=[False, True])})
    table.write(tmp_path / "t.ecsv")
    for kind in ("tabledata", "binary2"):
        table.write(tmp_path / f"{kind}.xml", format="votable", tabledata_format=kind)
    for name in ("t.ecsv", "tabledata.xml", "binary2.xml"):
        assert read_table(tmp_path / name, {"T": "label"})["T"].tolist() == [str(2**60 + 1), ""], name
        np.testing.assert_array_equal(read_table(tmp_path / name, {"T": "number"})["T"], [2.0**60, np.nan])


def test_a_vector_that_a_votable_declares_as_one_number(tmp_path):
    Table({"ID": [1, 2], "RA": [1.5, 2.5], "A": [4.5, 5.5]}).write(tmp_path / "t.xml", format="votable")
    text = (tmp_path / "t.xml").read_text().replace("<TD>4.5</TD>", "<TD>4.5 4.6 4.7</TD>")
    path = write(tmp_path, text)
    assert read_table(path, WANTED)["RA"].tolist() == [1.5, 2.5]
    with pytest.raises(InputError, match=r"row 1: expected a number in column 'A', found '4.5 4.6 4.7'"):
        read_table(path, {"A": "number"})


def hats(folder, rows=(3, 2), **facts):
    for pixel, count in enumerate(rows):
        leaf = folder / "dataset" / "Norder=1" / "Dir=0" / f"Npix={pixel}.parquet"
        leaf.parent.mkdir(parents=True, exist_ok=True)
        parquet.write_table(pa.table({"ID": [10 * pixel + i for i in range(count)], "RA": [1.5] * count}), leaf)
    about = {"dataproduct_type": "object", "hats_nrows": sum(rows)} | facts
    (folder / "hats.properties").write_text("#HATS catalog\n" + "".join(f"{k}={v}\n" for k, v in about.items()))
    parquet.write_table(pa.table({"ID": [99]}), folder / "per_partition_statistics.parquet")
    return folder


def test_hats_catalogues_and_collections(tmp_path):
    hats(tmp_path / "coll" / "main")
    hats(tmp_path / "coll" / "main_5arcs", rows=(2,), dataproduct_type="margin")
    (tmp_path / "coll" / "collection.properties").write_text("obs_collection=x\nhats_primary_table_url=main\n")
    for place in ("coll", "coll/main"):
        assert read_tables(files(tmp_path, place), WANTED)["ID"].tolist() == ["0", "1", "2", "10", "11"]
    with pytest.raises(InputError, match="is the margin of a HATS catalogue, which repeats objects"):
        files(tmp_path, "coll/main_5arcs")
    with pytest.raises(InputError, match="give the folder itself"):
        files(tmp_path, "coll/**/*.parquet")
    (tmp_path / "plain").mkdir()
    with pytest.raises(InputError, match=r"is a folder, but no HATS catalogue .*a pattern"):
        files(tmp_path, "plain")


names = st.text(st.sampled_from("abcXYZ 0189_.-+"), max_size=9)
rows = st.lists(st.tuples(
    names, st.integers(-(2**63) + 1, 2**63 - 1) | st.none(), st.integers(0, 2**64 - 1),
    st.floats(allow_infinity=False), st.booleans(),
), min_size=1, max_size=6)  # fmt: skip


def masked(values, dtype, fill):
    return MaskedColumn([fill if v is None else v for v in values], mask=[v is None for v in values], dtype=dtype)


WRITERS = ["fits", "votable", "binary2", "ecsv", "parquet", "feather", "csv", "tsv", "ascii"]


@pytest.mark.parametrize("kind", WRITERS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows)
def test_every_value_comes_back(tmp_path, kind, drawn):
    name, whole, unsigned, real, logical = map(list, zip(*drawn, strict=True))
    name = [f"x{text.strip()}" for text in name]  # a name that is no number, a null or a comment
    table = Table({"name": name, "whole": masked(whole, np.int64, -(2**63)), "real": real, "logical": logical,
                   "unsigned": np.array(unsigned, dtype=np.uint64)})  # fmt: skip
    path, formats = tmp_path / "t", {"csv": "ascii.csv", "ecsv": "ascii.ecsv", "ascii": "ascii.basic"}
    if kind in ("parquet", "feather"):
        arrow = pa.table({"name": name, "whole": pa.array(whole, pa.int64()), "real": real, "logical": logical,
                          "unsigned": pa.array(unsigned, pa.uint64())})  # fmt: skip
        (parquet.write_table if kind == "parquet" else feather.write_feather)(arrow, path)
    elif kind in ("votable", "binary2"):
        table.remove_column("unsigned")  # VOTable has no such type
        table.write(path, format="votable", tabledata_format=kind.replace("votable", "tabledata"), overwrite=True)
    else:
        more = {"delimiter": "\t"} if kind == "tsv" else {}
        table.write(path, format=formats.get(kind, "ascii.csv" if kind == "tsv" else kind), overwrite=True, **more)
    wanted = {"name": "text", "whole": "text", "real": "number", "logical": "label"}
    wanted |= {"unsigned": "text"} if "unsigned" in table.colnames else {}
    found = read_table(path, wanted)
    assert found["name"].tolist() == [text.strip() for text in name]
    assert found["whole"].tolist() == ["" if value is None else str(value) for value in whole]
    np.testing.assert_array_equal(found["real"], real)
    assert [text.lower() for text in found["logical"].tolist()] == [str(value).lower() for value in logical]
    if "unsigned" in wanted:
        assert found["unsigned"].tolist() == [str(value) for value in unsigned]


@pytest.mark.skipif(shutil.which("stilts") is None, reason="STILTS is not installed")
@pytest.mark.slow
def test_what_stilts_writes(tmp_path):
    table = Table({"ID": np.array([1, 2**62 + 1]), "RA": [1.5, np.nan], "L": [True, False], "N": ["a b", "c"]})
    table.write(tmp_path / "in.fits")
    for kind in (
        "fits-plus",
        "fits-basic",
        "csv",
        "tst",
        "votable-tabledata",
        "votable-binary2-inline",
        "ipac",
        "ascii",
    ):
        out = tmp_path / f"out.{kind}"
        subprocess.run(["stilts", "tcopy", f"in={tmp_path / 'in.fits'}", "ifmt=fits", f"out={out}", f"ofmt={kind}"],
                       check=True, capture_output=True)  # fmt: skip
        found = read_table(out, WANTED | {"L": "label", "N": "label"})
        assert found["ID"].tolist() == ["1", str(2**62 + 1)], kind
        np.testing.assert_array_equal(found["RA"], [1.5, np.nan], err_msg=kind)
        assert [text.lower()[0] for text in found["L"].tolist()] == ["t", "f"], kind
        assert found["N"].tolist() == ["a b", "c"], kind
    subprocess.run(["stilts", "tcopy", f"in={tmp_path / 'in.fits'}", "ifmt=fits", f"out={tmp_path / 'c'}",
                    "ofmt=colfits-basic"], check=True, capture_output=True)  # fmt: skip
    with pytest.raises(InputError, match="colfits"):
        read_table(tmp_path / "c", WANTED)


@pytest.mark.skipif(shutil.which("fpack") is None, reason="fpack is not installed")
@pytest.mark.slow
def test_what_fpack_makes_of_a_table_is_named(tmp_path):
    Table({"ID": np.arange(5000), "RA": np.arange(5000.0)}).write(tmp_path / "t.fits")
    subprocess.run(["fpack", "-table", "t.fits"], cwd=tmp_path, check=True, capture_output=True)
    with (
        pytest.raises(InputError, match=r"compressed with fpack; unpack it first \(funpack\)"),
        warnings.catch_warnings(),
    ):
        read_table(tmp_path / "t.fits.fz", WANTED)


EXTRACTOR = shutil.which("source-extractor") or shutil.which("sex")


@pytest.mark.skipif(EXTRACTOR is None, reason="source-extractor is not installed")
@pytest.mark.slow
def test_what_source_extractor_writes(tmp_path):
    """Its three kinds of catalogues of one image: the same values of every column, elements of vectors too."""
    y, x = np.mgrid[:128, :160]
    places = np.random.default_rng(0).uniform(15, 110, (12, 2))
    image = np.random.default_rng(1).normal(0, 1, x.shape)
    for at, (x0, y0) in enumerate(places):
        image += (at + 4) * 40 * np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / 8)
    fits.writeto(tmp_path / "image.fits", image.astype(np.float32))
    columns = ["NUMBER", "X_IMAGE", "Y_IMAGE", "MAG_APER(3)", "MAGERR_APER(3)", "FLAGS", "FLUX_AUTO", "ELLIPTICITY"]
    (tmp_path / "some.param").write_text("\n".join(columns) + "\n")
    wanted = {"NUMBER": "text", "X_IMAGE": "number", "FLAGS": "number", "FLUX_AUTO": "number", "ELLIPTICITY": "number"}
    wanted |= {f"{name}[{i}]": "number" for name in ("MAG_APER", "MAGERR_APER") for i in range(3)}
    found = {}
    for kind in ("ASCII_HEAD", "FITS_LDAC", "FITS_1.0"):
        subprocess.run([EXTRACTOR, "image.fits", "-CATALOG_NAME", kind, "-CATALOG_TYPE", kind, "-PARAMETERS_NAME",
                        "some.param", "-FILTER", "N", "-PHOT_APERTURES", "4,7,11", "-VERBOSE_TYPE", "QUIET",
                        "-STARNNW_NAME", "none"], cwd=tmp_path, check=True, capture_output=True)  # fmt: skip
        found[kind] = read_table(tmp_path / kind, wanted)
    table = Table.read(tmp_path / "FITS_1.0", hdu=1)
    assert len(table) >= 8
    for kind, read in found.items():
        assert read["NUMBER"].tolist() == table["NUMBER"].astype(str).tolist(), kind
        for name in list(wanted)[1:]:
            base, _, place = name.partition("[")
            values = table[base][:, int(place[:-1])] if place else table[base]
            close = {"rtol": 1e-3, "atol": 2e-3} if kind == "ASCII_HEAD" else {"rtol": 0, "atol": 0}  # it rounds
            np.testing.assert_allclose(read[name], np.asarray(values, dtype=float), **close, err_msg=f"{kind} {name}")


@pytest.mark.parametrize("info", ['name="QUERY_STATUS" value="OVERFLOW"', 'value="OVERFLOW"\n name="QUERY_STATUS"'])
@pytest.mark.parametrize("packed", [False, True])
def test_a_votable_that_is_a_part_of_the_answer_is_told(tmp_path, info, packed):
    rows = "".join(f"<TR><TD>{i}</TD></TR>" for i in range(60_000))  # the word stands at the end, after a megabyte
    text = ('<?xml version="1.0"?><VOTABLE version="1.4"><RESOURCE><INFO name="QUERY_STATUS" value="OK"/>'
            f'<TABLE><FIELD name="id" datatype="int"/><DATA><TABLEDATA>{rows}</TABLEDATA></DATA></TABLE>'
            f"<INFO {info}/></RESOURCE></VOTABLE>")  # fmt: skip
    path = tmp_path / "t.vot"
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    assert "t.vot is a part of what was asked for: the server stopped at its limit" in described([path], Reading())
    path.write_text(text.replace("OVERFLOW", "OK"))
    assert "limit of rows" not in described([path], Reading())


PRINTED = {
    "psql": " ID  |  RA   | name \n-----+-------+------\n a1  |   1.5 | x y\n b22 |       | \n(2 rows)\n\n",
    "mysql": "+-----+------+\n| ID  | RA   |\n+-----+------+\n| a1  |  1.5 |\n| b22 |      |\n+-----+------+\n"
             "2 rows in set (0.00 sec)\n",
    "sqlcmd": "ID         RA\n---------- ------------\na1                  1.5\nb22\n\n(2 rows affected)\n",
    "SQL*Plus": "\nID                 RA\n---------- ----------\na1                1.5\n\nID                 RA\n"
                "---------- ----------\nb22\n\n2 rows selected.\n",
    "Markdown": "| ID | RA |\n|:---|---:|\n| a1 | 1.5 |\n| b22 | |\n",
    "Markdown without outer bars": "ID | RA\n--- | ---\na1 | 1.5\nb22 | \n",
    "reStructuredText": "=== ====\nID  RA\n=== ====\na1  1.5\nb22\n=== ====\n",
    "fixed_width": "| ID  | RA  |\n| a1  | 1.5 |\n| b22 |     |\n",
}  # fmt: skip


@pytest.mark.parametrize("printed", PRINTED)
@pytest.mark.parametrize("format", ["auto", "ascii", "fixed"])
def test_printed_tables_are_read_by_their_rule(tmp_path, printed, format):
    """The rule is no object, an empty cell no value, and the count of rows below no row."""
    path = write(tmp_path, PRINTED[printed])
    found = read_table(path, WANTED, format=format)
    assert found["ID"].tolist() == ["a1", "b22"]
    np.testing.assert_array_equal(found["RA"], [1.5, np.nan])
    assert "columns of fixed width" in described([path], Reading())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ID  RA\n--- ----\na1  1.5\nb22xx 2.5\n", r"line 4: 'x 5' lies between the columns that the rule"),
        (" ID | RA\n----+----\n a|1 | 2\n", r"line 3: 3 columns, expected 2"),
        ("\\begin{tabular}{cc}\nID & RA \\\\\n", r"is LaTeX, which is not read; write it as CSV or ECSV"),
    ],
)
def test_printed_tables_that_do_not_keep_to_their_columns_are_refused(tmp_path, text, words):
    with pytest.raises(InputError, match=words):
        read_table(write(tmp_path, text), WANTED)


@pytest.mark.parametrize("row", ["-- -- --", "- - -", "--- --- ---"])
def test_a_row_of_dashes_alone_is_no_rule(tmp_path, row):
    """Nulls of the first object: no header fits them, or they are too short."""
    path = write(tmp_path, f"identity RA z\n{row}\nb22 1.5 2\n")
    assert len(read_table(path, {"identity": "label"})["identity"]) == 2


@pytest.mark.parametrize("head", ["| ID  | RA  |\n", "| ID  | RA  |\n|-----|-----|\n", " ID  | RA  \n-----+-----\n"])
def test_a_row_without_any_value_is_a_row_between_bars_too(tmp_path, head):
    bar = "|" if head.startswith("|") else " "
    rows = (f"{bar} {cells} {bar}\n" for cells in ("a1  | 1.5", "--  |  --", "b22 | 2.5"))
    found = read_table(write(tmp_path, head + "".join(rows)), {"ID": "label", "RA": "number"})
    assert found["ID"].tolist() == ["a1", "", "b22"]
    np.testing.assert_array_equal(found["RA"], [1.5, np.nan, 2.5])


def test_ipac_is_no_printed_table(tmp_path):
    path = write(tmp_path, "|ID  |RA    |\n|char|double|\n a1   1.5   \n b22  null  \n")
    assert read_table(path, WANTED)["ID"].tolist() == ["a1", "b22"]
    with pytest.raises(InputError, match="no rows"):
        read_table(write(tmp_path, "|ID  |RA    |\n|char|double|\n"), WANTED)


@pytest.mark.parametrize("line", ["{} x", "---{}x", "--- {}---{}x", "| ---{}x", "+{}x", "{}|{}-"])
def test_long_first_lines_take_no_time(tmp_path, line):
    """Of 200,000 blanks or dashes: a search that goes back and forth would take hours."""
    for letter in " -":
        text = line.replace("{}", letter * 100_000)
        with pytest.raises(InputError):
            read_table(write(tmp_path, f"{text}\n{text}\n"), WANTED)


def test_a_description_that_cuts_its_fields_is_refused(tmp_path):
    """As astropy 8 writes one of a masked column: bytes 5-6 for numbers of ten digits, of which two would be read."""
    lines = ["Title: t", "=" * 80, "Byte-by-byte Description of file: t.txt", "-" * 80,
             "   Bytes Format Units  Label     Explanations", "-" * 80,
             "   1-  2 A2     ---    ID        Name", "   4-  5 I2     ---    N         ? A number",
             "   7- 10 F4.1   deg    RA        Position", "-" * 80]  # fmt: skip
    good = write(tmp_path, "\n".join([*lines, "g1 12 10.5", "g2    20.5", "g3:13 30.5"]) + "\n")
    found = read_table(good, {"ID": "text", "N": "number", "RA": "number"})
    np.testing.assert_array_equal(found["N"], [12, np.nan, 13])
    assert found["RA"].tolist() == [10.5, 20.5, 30.5]
    cut = write(tmp_path, "\n".join([*lines, "g1 12 10.5", "g2 12345678"]) + "\n")
    with pytest.raises(InputError, match=r"row 2: column 'N' goes on beyond bytes 4 to 5, which its description"):
        read_table(cut, {"N": "number"})
    with pytest.raises(InputError, match=r"row 2: column 'RA' goes on beyond bytes 7 to 10"):
        read_table(cut, {"RA": "label"})
