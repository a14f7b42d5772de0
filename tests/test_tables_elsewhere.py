"""Tables that other readers took wrongly, by their public reports, with the right values; and bits and semicolons."""

import numpy as np
import pytest
from astropy.io import fits

from hpc_astrossl.errors import InputError
from hpc_astrossl.tables.tables import Reading, described, read_table

WANTED = {"ID": "text", "RA": "number"}
NAN = float("nan")


def write(tmp_path, content):
    path = tmp_path / "t"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def binary(tmp_path, *columns):
    fits.BinTableHDU.from_columns([fits.Column("ID", "1A", array=np.array(["a", "b"])), *columns]).writeto(
        tmp_path / "t"
    )
    return tmp_path / "t"


def test_a_logical_null_is_not_false(tmp_path):
    """astropy #18815: a zero byte, for which FITS has no value, is read as False."""
    path = binary(tmp_path, fits.Column("F", "L", array=np.array([True, False])))
    data = bytearray(path.read_bytes())
    data[data.index(b"aT") + 1] = 0
    path.write_bytes(data)
    np.testing.assert_array_equal(read_table(path, {"F": "number"})["F"], [NAN, 0])
    assert read_table(path, {"F": "label"})["F"].tolist() == ["", "false"]


@pytest.mark.parametrize("null", ["", "-99"])
def test_a_blank_of_an_ascii_table_is_no_zero(tmp_path, null):
    """astropy #5134: blanks of VizieR's ASCII tables became 0, or could not be read."""
    columns = [
        fits.Column("ID", "A3", array=np.array(["a", "b"])),
        fits.Column("RA", "I6", array=np.array([7, 8]), ascii=True),
    ]
    unit = fits.TableHDU.from_columns(columns)
    unit.header["TNULL2"] = null
    unit.writeto(tmp_path / "t")
    data = (tmp_path / "t").read_bytes()
    at = data.rindex(b"8")
    (tmp_path / "t").write_bytes(data[: at - 2] + f"{null:>3}".encode() + data[at + 1 :])
    np.testing.assert_array_equal(read_table(tmp_path / "t", WANTED)["RA"], [7, NAN])


def test_a_decimal_point_counts_more_than_the_format(tmp_path):
    """astropy #5353: 55719.266 in a column declared F17.0 is written again as 55719.0."""
    real = fits.Column("RA", "F17.3", array=np.array([55719.266]), ascii=True)
    unit = fits.TableHDU.from_columns([fits.Column("ID", "A3", array=np.array(["a"])), real])
    unit.header["TFORM2"] = "F17.0"
    unit.writeto(tmp_path / "t")
    assert read_table(tmp_path / "t", WANTED)["RA"].tolist() == [55719.266]


@pytest.mark.parametrize("cell", ["", "NaN", "null"])
def test_ids_beside_a_missing_one_keep_their_digits(tmp_path, cell):
    """pandas #48170, #32134: 1234567890123456789 beside an empty field became 1234567890123456768."""
    text = f"ID,RA,other\n1234567890123456789,1,1582218195625938945\nb,2,{cell}\n"
    found = read_table(write(tmp_path, text), WANTED | {"other": "label"})
    assert (found["ID"].tolist(), found["other"].tolist()) == (
        ["1234567890123456789", "b"],
        ["1582218195625938945", ""],
    )


def test_long_numbers_of_ipac(tmp_path):
    """astropy #4684: the cntr of IPAC's tables did not fit the whole numbers of some systems."""
    lines = ["|ID                  |RA    |", "|long                |double|", " 9223372036854775807  1.5    ",
             " 5                    2.5    "]  # fmt: skip
    assert read_table(write(tmp_path, "\n".join(lines) + "\n"), WANTED)["ID"].tolist() == ["9223372036854775807", "5"]


ROSAT = """1RXS;RAJ2000;DEJ2000;NewFlag;HR1
 ;deg;deg; ;
----------------;---------;---------;----;-----
J000311.5-060521;000.79792;-06.08917;__..; 0.76
J000312.3-355541;000.80125;-35.92820;TT..;
"""


def test_units_below_the_names_are_no_values(tmp_path):
    """astropy #826: VizieR's units and dashes became the first rows, and all columns text."""
    path = write(tmp_path, ROSAT)
    found = read_table(path, {"1RXS": "text", "RAJ2000": "number", "HR1": "number", "NewFlag": "label"})
    assert found["1RXS"].tolist() == ["J000311.5-060521", "J000312.3-355541"]
    np.testing.assert_array_equal(found["RAJ2000"], [0.79792, 0.80125])
    np.testing.assert_array_equal(found["HR1"], [0.76, NAN])
    assert found["NewFlag"].tolist() == ["__..", "TT.."]
    assert described([path], Reading()) == "text separated by semicolons"


def test_semicolons(tmp_path):
    text = 'ID;N;RA\r\na;"x; y";1.5\r\nb;"p, q";\r\n'
    found = read_table(write(tmp_path, text), WANTED | {"N": "text"})
    assert (found["ID"].tolist(), found["N"].tolist()) == (["a", "b"], ["x; y", "p, q"])
    np.testing.assert_array_equal(found["RA"], [1.5, NAN])
    with pytest.raises(InputError, match=r"expected a number in column 2 \(RA\), found '1,5'"):
        read_table(write(tmp_path, "ID;RA\na;1,5\nb;2,5\n"), WANTED)
    with pytest.raises(InputError, match="line 3: 1 columns, expected 2"):
        read_table(write(tmp_path, "ID;RA\na;1.5\nb\n"), WANTED)
    with pytest.raises(InputError, match=r"';' separates none here; leave format out"):
        read_table(write(tmp_path, text), WANTED, format="csv")


@pytest.mark.parametrize("count", [1, 3, 8, 11])
def test_bits_are_elements(tmp_path, count):
    bits = np.random.default_rng(count).random((2, count)) < 0.5
    path = binary(tmp_path, fits.Column("F", f"{count}X", array=bits), fits.Column("RA", "D", array=[1.5, NAN]))
    names = ["F"] if count == 1 else [f"F[{i}]" for i in range(count)]
    found = read_table(path, WANTED | dict.fromkeys(names, "number"))
    np.testing.assert_array_equal(np.stack([found[name] for name in names], axis=1), bits)
    np.testing.assert_array_equal(found["RA"], [1.5, NAN])
    with pytest.raises(InputError, match=rf"has {count} values a row" if count > 1 else "has 1 values a row"):
        read_table(path, {f"F[{count}]": "number"})
