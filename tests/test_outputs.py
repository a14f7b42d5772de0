"""Verbs replace what an earlier run of them wrote, and nothing of anybody else's."""

import json

import pytest

from hpc_astrossl.errors import InputError
from hpc_astrossl.outputs import Batch, Outputs

FORMAT = "toy"
THUMBS = "thumbnails-0123456789ab"


@pytest.fixture
def outputs(tmp_path):
    return Outputs(verb="toy", record=tmp_path / "a.json", format=FORMAT)


def write(outputs, **made):
    """Files by their name with ``_`` for the dot, written as a verb does."""
    paths = {outputs.record.with_name(name.replace("_", ".")): text for name, text in made.items()}
    outputs.check(paths, "--out a")
    with outputs.made("--out a") as batch:
        for path, text in paths.items():
            batch.write(path, text.encode())
        return batch.put({"made": "now"})


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_it_wrote_is_replaced_and_what_it_writes_no_more_is_removed(outputs, tmp_path):
    write(outputs, t_csv="1", next_csv="2")
    told = write(outputs, t_csv="3")
    assert (tmp_path / "t.csv").read_text() == "3"
    assert names(tmp_path) == ["a.json", "t.csv"]
    assert json.loads((tmp_path / "a.json").read_text()) == told
    assert list(told["files"]) == ["t.csv"]


def test_files_of_others_are_refused_and_kept(outputs, tmp_path):
    (tmp_path / "t.csv").write_text("mine")
    with pytest.raises(InputError, match=r"t\.csv is there already, and no earlier toy has made it \(a\.json does not"):
        write(outputs, t_csv="1")
    (tmp_path / "t.csv").unlink()
    (tmp_path / "a.json").write_text("[1]")
    with pytest.raises(InputError, match=r"a\.json is there already"):
        write(outputs, t_csv="1")
    (tmp_path / "a.json").unlink()
    (tmp_path / "t.csv").symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"t\.csv is there already"):
        write(outputs, t_csv="1")


def test_what_somebody_has_changed_is_refused_and_kept(outputs, tmp_path):
    write(outputs, t_csv="1", n_csv="2")
    (tmp_path / "n.csv").write_text("2, and a note")
    with pytest.raises(InputError, match=r"n\.csv is not as toy has written it; give it another name to keep"):
        write(outputs, t_csv="3", n_csv="4")
    assert (tmp_path / "t.csv").read_text() == "1"
    write(outputs, t_csv="3")  # which does not write it: it stays
    assert (tmp_path / "n.csv").read_text() == "2, and a note"


def test_a_file_that_another_record_names_is_said_to_be_its(outputs, tmp_path):
    write(outputs, next_csv="1")
    other = Outputs(verb="toy", record=tmp_path / "b.json", format=FORMAT)
    with pytest.raises(InputError, match=r"next\.csv belongs to a\.json beside it; choose a folder of its own"):
        other.check([tmp_path / "next.csv"], "--out b")


@pytest.mark.parametrize("after", range(1, 5))
def test_killed_at_any_step_the_same_command_goes_through(outputs, tmp_path, monkeypatch, after):
    """The steps are: the claim, two files, the record."""
    write(outputs, t_csv="1", n_csv="1")
    from pathlib import Path

    done, replace = [], Path.replace

    def killed(self, target):
        done.append(target)
        if len(done) == after:
            raise KeyboardInterrupt
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write(outputs, t_csv="2", n_csv="2")
    monkeypatch.undo()
    assert all(path.read_text() in "12" for path in tmp_path.glob("*.csv"))
    write(outputs, t_csv="3", n_csv="3")
    assert [(tmp_path / name).read_text() for name in ("t.csv", "n.csv")] == ["3", "3"]
    assert not [name for name in names(tmp_path) if name.endswith(".partial")]
    assert "unfinished" not in json.loads((tmp_path / "a.json").read_text())


def test_a_record_of_others_removes_nothing_of_anybodys(outputs, tmp_path):
    """It may name any file, by any path."""
    inner = tmp_path / "inner"
    inner.mkdir()
    outputs = Outputs(verb="toy", record=inner / "a.json", format=FORMAT)
    for place in ("photos", f"../{THUMBS}"):
        (inner / place).mkdir()
        (inner / place / "001.jpg").write_text("mine")
    (tmp_path / "precious.csv").write_text("mine")
    (inner / "precious.csv").write_text("mine")
    (inner / THUMBS).symlink_to(inner / "photos")
    named = ["../precious.csv", str(tmp_path / "precious.csv"), "precious.csv", "photos", f"../{THUMBS}", THUMBS, "..",
             "."]  # fmt: skip
    (inner / "a.json").write_text(json.dumps({"format": FORMAT, "files": dict.fromkeys(named)}))
    write(outputs, t_csv="1")
    assert (tmp_path / "precious.csv").read_text() == (inner / "precious.csv").read_text() == "mine"
    assert (inner / "photos" / "001.jpg").exists()
    assert (tmp_path / THUMBS / "001.jpg").exists()


def test_thumbnails_of_before_go_but_a_file_among_them_stays(outputs, tmp_path):
    for name, more in ((THUMBS, []), ("thumbnails-ffffffffffff", ["note.txt"])):
        with outputs.made("--out a") as batch:
            folder = batch.aside(tmp_path / name)
            folder.mkdir()
            (folder / "00000.jpg").write_text("x")
            batch.put({})
        for one in more:
            (tmp_path / name / one).write_text("mine")
    assert names(tmp_path) == ["a.json", "thumbnails-ffffffffffff"]
    write(outputs, t_csv="1")
    assert names(tmp_path / "thumbnails-ffffffffffff") == ["note.txt"]


def test_a_folder_that_cannot_be_written_is_named_before_the_work(outputs, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"--out a: .*file is no folder that may be written to; choose another"):
        outputs.check([tmp_path / "file" / "t.csv"], "--out a")
    monkeypatch.setattr("os.access", lambda path, mode: False)  # root may write anywhere
    with pytest.raises(InputError, match="is no folder that may be written to"):
        outputs.check([tmp_path / "t.csv"], "--out a")


def test_a_file_that_came_while_it_worked_is_not_replaced(outputs, tmp_path):
    with outputs.made("--out a") as batch:
        assert isinstance(batch, Batch)
        batch.write(tmp_path / "t.csv", b"1")
        (tmp_path / "t.csv").write_text("mine")
        with pytest.raises(InputError, match="no earlier toy has made it"):
            batch.put({})
    assert names(tmp_path) == ["t.csv"]
