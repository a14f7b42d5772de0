"""Text tables: where the header is, what a number is, and what is said of a table that is not as the recipe says."""

import numpy as np
import pytest

from hpc_astrossl.errors import InputError
from hpc_astrossl.ingest import tables
from hpc_astrossl.ingest.tables import read_table

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
    table = read(tmp_path, "# no names\nx a 7 8 9\ny b 6\n", {"B": "text", "C": "number"}, names=["A", "B", "C"])
    assert table["B"].tolist() == ["a", "b"]
    assert table["C"].tolist() == [7, 6]


def test_blocks_do_not_show(tmp_path, monkeypatch):
    text = "# ID RA\n" + "".join(f"{'long' * (i % 3)}id{i} {i}\n" for i in range(10))
    whole = read(tmp_path, text)
    monkeypatch.setattr(tables, "BLOCK", 3)
    parts = read(tmp_path, text)
    assert whole["ID"].tolist() == parts["ID"].tolist()
    assert parts["RA"].tolist() == list(range(10))


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        ("# ID Ra Dec RAERR\na 1 2 3\n", {}, r"no column 'RA'; nearest: Ra, RAERR. The recipe says"),
        ("# ID alpha\na 1\n", {}, r"no column 'RA'; it has: ID, alpha"),
        ("ID,ra\na,1\n", {"format": "csv"}, r"no column 'RA'; nearest: ra"),
        ("# ID RA RA\na 1 1\n", {}, r"column 'RA' stands 2 times in the header"),
        ("# ID RA\na 1\nb\n", {}, r"line 3: 1 columns, expected 2, as the header"),
        ("# ID RA\na 1\nb 2 3\n", {}, r"line 3: 3 columns, expected 2, as the header"),
        ("a 1\nb\n", {"names": ["ID", "RA"]}, r"line 2: 1 columns, expected at least 2"),
        ("# ID RA\na 1\nb 12:30\n", {}, r"line 3: expected a number in column 2, found '12:30'"),
        ("# ID RA\n", {}, r"the table has no rows"),
        ("", {}, r"no column 'ID'; it has: no header"),
        ("", {"format": "csv"}, r"no column 'ID'; it has: no header"),
    ],
)
def test_what_is_wrong_is_named_with_file_and_line(tmp_path, text, options, words):
    with pytest.raises(InputError, match=words) as caught:
        read(tmp_path, text, **options)
    assert str(caught.value).startswith(str(tmp_path / "table.txt"))


def test_a_missing_or_binary_file(tmp_path):
    with pytest.raises(InputError, match=r"absent.cat: no such file; the recipe expects this table"):
        read_table(tmp_path / "absent.cat", WANTED)
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(InputError, match=r"binary: cannot be read as a text table"):
        read_table(tmp_path / "binary", WANTED)
