"""Labels of two people put together: nothing lost, nothing decided for them."""

import csv
import json

import pytest

from hpc_astrossl import labels
from hpc_astrossl.cli import main
from hpc_astrossl.errors import InputError
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
