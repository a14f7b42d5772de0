"""Labels of two people put together: nothing lost, nothing decided for them."""

import csv
import json

import pytest

from hpc_astrossl import labels
from hpc_astrossl.cli import main
from hpc_astrossl.errors import InputError
from hpc_astrossl.files import cell_text, plain_cell
from hpc_astrossl.labels import Label

HEAD = "object_id,class,when,who\n"
EVIL = '<img src=x onerror=alert(1)>,"\n'


def merge(tmp_path, a, b, *more):
    (tmp_path / "a.csv").write_text(HEAD + a)
    (tmp_path / "b.csv").write_text(HEAD + b)
    return main(["labels", "merge", *(str(tmp_path / n) for n in ("a.csv", "b.csv")), "--out", str(tmp_path / "c.csv"),
                 *more])  # fmt: skip


def test_agreed_and_single_labels_are_kept_and_disagreements_listed(tmp_path, capsys):
    assert merge(tmp_path, "1,star,t1,ann\n2,star,t2,ann\n3,star,,\n", "2,galaxy,t3,bob\n3,star,,\n4,qso,,\n") == 0
    said = capsys.readouterr().out
    assert list(labels.read_labels(tmp_path / "c.csv")) == ["1", "3", "4"]
    assert labels.read_labels(tmp_path / "c.csv")["1"] == Label(name="star", when="t1", who="ann")
    with (tmp_path / "c.disagreements.csv").open(newline="") as stream:
        (line,) = csv.DictReader(stream)
    assert (line["object_id"], line["first"], line["second"], line["second_who"]) == ("2", "star", "galaxy", "bob")
    assert "labelled by both 2, called differently 1" in said
    assert f"2: star in {tmp_path / 'a.csv'}, galaxy in" in said


def test_nothing_is_replaced(tmp_path, capsys):
    assert merge(tmp_path, "1,a,,\n", "2,b,,\n", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"labels": 2, "labelled_by_both": 0, "kappa": None,
                                                   "disagreements": []}  # fmt: skip
    assert not (tmp_path / "c.disagreements.csv").exists()
    assert merge(tmp_path, "1,a,,\n", "2,b,,\n") == 2
    assert "is there already" in capsys.readouterr().err


def test_kappa_is_the_textbooks():
    """Two readers of 50 proposals: 20 yes-yes, 5 yes-no, 10 no-yes, 15 no-no; kappa is 0.4."""
    pairs = [("y", "y")] * 20 + [("y", "n")] * 5 + [("n", "y")] * 10 + [("n", "n")] * 15
    assert labels.cohen_kappa(pairs) == pytest.approx(0.4)
    assert labels.cohen_kappa([("y", "y")]) is None


def test_any_text_comes_back_as_it_was(tmp_path):
    kept = {EVIL: Label(name="=1+1", when="t", who='ü, "x"'), " b ": Label(name="<b>")}
    labels.write_labels(tmp_path / "l.csv", kept)
    assert labels.read_labels(tmp_path / "l.csv") == kept


def test_a_spreadsheets_mark_is_read_over_and_other_encodings_are_named(tmp_path):
    (tmp_path / "l.csv").write_bytes(b"\xef\xbb\xbfobject_id,class\r\n1,a\r\n")
    assert labels.read_labels(tmp_path / "l.csv") == {"1": Label(name="a")}
    (tmp_path / "l.csv").write_bytes("object_id,class\n1,naïve\n".encode("latin-1"))
    with pytest.raises(InputError, match="cannot be read as text in UTF-8"):
        labels.read_labels(tmp_path / "l.csv")
    with pytest.raises(InputError, match="no such file of labels"):
        labels.read_labels(tmp_path / "gone.csv")


@pytest.mark.parametrize(
    "text",
    [
        "object_id;class;when;who\n1;a;;\n2;b, or c;;\n",
        "object_id\tclass\n1\ta\n2\tb, or c\n",
        'class,object_id\r\na,1\r\n"b, or c",2\r\n',
        'object_id, class ,notes\n1,a,x\n,,\n2,"b, or c",\n,,\n',
        'object_id,class\n1,a,,\n1,a\n2,"b, or c"\n\n',
    ],
)
def test_what_spreadsheets_write_is_read(tmp_path, text):
    (tmp_path / "l.csv").write_text(text, newline="")
    found = {one: label.name for one, label in labels.read_labels(tmp_path / "l.csv").items()}
    assert found == {"1": "a", "2": "b, or c"}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"object_id,class,class\n1,a,b\n", "two columns class in its first line; leave one of them"),
        (b"name,kind\n1,a\n", r"no column object_id, class in its first line \(it has name, kind\)"),
        (b"", r"no column object_id, class in its first line \(it is empty\)"),
        (b"object_id,class\n", "no labels in it; give some objects classes in explore.html and save them"),
        (b"object_id,class\n1,a\0\n", r"line 2: a NUL character in 1, a\\u0000; take it out"),
        (b"object_id,class\n1.23E+17,a\n1.23E+17,b\n", "'a' further up: a spreadsheet has rounded ids"),
        (b"object_id,class\n  ,a\n", "line 2: no object_id; give it"),
        (b"object_id,class\nx\x1b[2J,\n", r"object x\\u001b\[2J has no class"),
        ("object_id,class\n1,a\n".encode("utf-16"), "cannot be read as text in UTF-8 .*save it again as CSV, UTF-8"),
        (b"object_id,class\n1," + b"a" * 200_000, "line 2: not CSV .*save it again"),
    ],
)
def test_what_cannot_be_meant_is_named(tmp_path, data, words):
    (tmp_path / "l.csv").write_bytes(data)
    with pytest.raises(InputError, match=words):
        labels.read_labels(tmp_path / "l.csv")
    with pytest.raises(InputError, match="labels are a CSV file"):
        labels.read_labels(tmp_path)


def test_merging_into_a_folder_that_is_not_there_names_it(tmp_path, capsys):
    (tmp_path / "a.csv").write_text(HEAD + "1,\x1b[2Ja\nb,,\n".replace("\nb", " b"))
    (tmp_path / "b.csv").write_text(HEAD + "1,c,,\n")
    words = ["labels", "merge", str(tmp_path / "a.csv"), str(tmp_path / "b.csv"), "--out"]
    assert main([*words, str(tmp_path / "gone" / "c.csv")]) == 2
    assert f"--out {tmp_path / 'gone/c.csv'}: no folder {tmp_path / 'gone'}; make it first" in capsys.readouterr().err
    assert main([*words, str(tmp_path / "c.csv")]) == 0
    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert "1: \\u001b[2Ja b in" in said


def test_labels_that_fit_no_object_are_told_with_the_first():
    assert labels.words_of(["x"]) == "the label of object x"
    assert labels.words_of(["x\n", "y"]) == "2 labels of objects (the first is x\\u000a)"
    assert "a spreadsheet has rounded" in labels.words_of(["1.5E+18", "y"])


@pytest.mark.parametrize(
    "text",
    ["=1", "'=1", "''=1", "'", "''", "-1", "'-1", "- 1", "+a", "@", " =1", "' =1", "\t", "-inf", "-INF", "-\u0665"],
)
def test_each_cell_is_read_as_what_it_was(text):
    made = plain_cell(text)
    assert cell_text(made) == text
    assert not made.lstrip(" ").startswith(("=", "+", "@", "\t")) or made != text
