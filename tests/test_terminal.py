"""Text of other people's files is shown on a terminal, never obeyed: in one place, for every verb."""

import io
import json
import sys
from argparse import Namespace

import numpy as np
import pytest
from training_toys import make_store

from hpc_astrossl import cli, labels, terminal
from hpc_astrossl.cli.screen import Line
from hpc_astrossl.cutting.progress import Progress
from hpc_astrossl.errors import InputError
from hpc_astrossl.launch import logs
from hpc_astrossl.store import open_store

ESCAPES = ("\x1b[2J", "\x1b]0;owned\x07", "\x9b2J", "\r", "\x00", "\x7f", "\u202eright to left", "\u2066", "\u200b",
           "\ufeff", "\U000e0041")  # fmt: skip


@pytest.mark.parametrize("evil", ESCAPES)
def test_what_a_terminal_obeys_or_hides_is_written_out_as_json_would(evil):
    made = terminal.plain(f"a{evil}b")
    assert made.isprintable()
    assert json.loads(f'"{made}"') == f"a{evil}b"
    assert terminal.plain(made) == made


@pytest.mark.parametrize("text", ["naïve Δ 星 🙂", "two\nlines\tand a tab", "می\u200cخواهم"])
def test_what_people_write_stays(text):
    assert terminal.plain(text) == text


def test_a_name_in_a_message_is_one_line_of_some_length():
    assert terminal.shown("a\nastrossl: all is well\x1b[0m") == "a\\u000aastrossl: all is well\\u001b[0m"
    long = terminal.shown("x" * 10_000)
    assert len(long) < 150
    assert "(10,000 characters)" in long


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_no_verb_prints_a_sequence(monkeypatch, capsys, stream):
    def fails(arguments):
        print("name \x1b[31mof a file\x1b[0m", file=getattr(sys, stream))
        raise InputError("class '\x1b]0;owned\x07' is wrong")

    monkeypatch.setattr(cli.Parser, "parse_args", lambda *_: Namespace(handler=fails, verb="any"))
    before = sys.stdout, sys.stderr
    assert cli.main([]) == 2
    assert (sys.stdout, sys.stderr) == before
    said = capsys.readouterr()
    assert "\x1b" not in said.out + said.err
    assert "\\u001b]0;owned\\u0007" in said.err


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_our_own_sequences_reach_it_and_those_of_names_do_not(monkeypatch):
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    with terminal.guarded():
        line, progress = Line(), Progress(sys.stdout)
        line.show("50 %\x1b[1A")
        line.clear()
        progress.say("field \x1b[1A")
    assert screen.getvalue() == "\r\033[K50 %\\u001b[1A\r\033[K\r\033[Kfield \\u001b[1A\n"


def test_logs_come_without_colours(tmp_path):
    (tmp_path / "log").write_bytes(b"\x1b[1;31merror\x1b[0m: no\r\n10 %\r20 %\n")
    assert logs.tail(tmp_path / "log", 5) == "error: no\n20 %"


def test_ids_of_a_store_and_classes_of_a_file_come_through_plainly(tmp_path, capsys):
    """Real verbs on real files, whose names would clear the screen."""
    store = open_store(make_store(tmp_path / "toy"))
    rows = {f"T{row:04d}": labels.Label(name="\x1b[2Jred\nblue" if row % 2 else "b") for row in range(12)}
    labels.write_labels(tmp_path / "labels.csv", rows)
    words = ["labels", "store", str(tmp_path / "labels.csv"), "--of", str(store.path), "--out"]
    assert cli.main([*words, str(tmp_path / "l.zarr")]) == 0
    said = capsys.readouterr()
    assert "\x1b" not in said.out + said.err
    assert "\\u001b[2Jred\\u000ablue 6" in said.out
    assert np.unique(open_store(tmp_path / "l.zarr").table["label"]).tolist() == [0, 1]
