"""Completion as a user meets it: the Tab key in bash, zsh and fish themselves, each on a terminal of its own."""

import argparse
import fcntl
import os
import pty
import shutil
import subprocess
import termios
from pathlib import Path

import pytest

from hpc_astrossl.cli import completion, main, parser
from hpc_astrossl.specs import reference

SHELLS = {"bash": ["bash", "--norc", "--noprofile", "-i"], "zsh": ["zsh", "-f", "-i"], "fish": ["fish", "-N", "-i"]}
# A program that notes the words that it is given, in place of ours.
NOTES = {"bash": """astrossl() { printf '<%s>' "$@"; echo; } >> home/said""",
         "zsh": """astrossl() { printf '<%s>' "$@"; echo; } >> home/said""",
         "fish": "function astrossl; begin; printf '<%s>' $argv; echo; end >> home/said; end"}  # fmt: skip
# What is typed, and the words that the program is given: Tab is |.
TYPED = {
    "prep|": "<preprocess>",
    "preprocess --source=rele|": "<preprocess><--source=release>",
    "preprocess an\\ od|x": "<preprocess><an odd:name.yaml><x>",
    "com|zs|": "<completion><zsh>",
    "preprocess mine.y|--sou|my\\ pic|": "<preprocess><mine.yaml><--source><my pictures>",
    "preprocess mine.y|--source rele| --dry|": "<preprocess><mine.yaml><--source><release><--dry-run>",
    "preprocess mine.yaml --set split.tr|0.5": "<preprocess><mine.yaml><--set><split.train=0.5>",
    "train run.yaml --set data.class_w|inverse": "<train><run.yaml><--set><data.class_weights=inverse>",
    "help recipe split.tr|": "<help><recipe><split.train>",
    "help cl|max_arr|": "<help><cluster><max_array>",
    "new rec|fol|--sou|rel|": "<new><recipe><folders><--source><release>",
    "weights exp|": "<weights><export>",
    "weights add mine.y|--na|x": "<weights><add><mine.yaml><--name><x>",
    "labels me|": "<labels><merge>",
    "submit mine.y|--clus|slurm_g|": "<submit><mine.yaml><--cluster><slurm_gpu>",
    "submit mine.y|--cluster ours|": "<submit><mine.yaml><--cluster><ours>",
    "report star|": "<report><stars>",
    "status star|": "<status><stars>",
    "logs SG_fea|": "<logs><SG_features_s0-12>",
    "cutout stores/SG| x --for|pn|": "<cutout><stores/SG.zarr><x><--format><png>",
    "info sto|SG| --ima|rele|": "<info><stores/SG.zarr><--image><release>",
}


@pytest.fixture(params=SHELLS)
def shell(request) -> str:
    """Each shell that is installed."""
    if shutil.which(request.param) is None:
        pytest.skip(f"no {request.param} here; apt-get install {request.param}")
    return request.param


def script(shell: str, capsys) -> str:
    assert main(["completion", shell]) == 0
    return capsys.readouterr().out


def lay_out(folder: Path) -> None:
    """A working folder with a bit of everything."""
    for name in ("my pictures", "release", "runs/stars/SG_features_s0-12", "stores/SG.zarr", "jobs/clusters", "home"):
        (folder / name).mkdir(parents=True)
    for name in ("mine.yaml", "an odd:name.yaml", "jobs/clusters/ours.yaml"):
        (folder / name).touch()


def press(command: list[str], folder: Path, lines: list[str]) -> str:
    """What a terminal shows when these lines are typed into a shell, one after the other, and the shell has ended."""
    terminal, theirs = pty.openpty()
    # The shell, in the folder, on a terminal of its own, with nothing of the user's.
    about = {"PATH": os.environ["PATH"], "HOME": str(folder / "home"), "TERM": "dumb", "LANG": "C.UTF-8"}
    process = subprocess.Popen(
        command, cwd=folder, env=about, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    for line in lines:
        os.write(terminal, line.encode() + b"\r")
    try:
        while part := os.read(terminal, 65536):
            shown += part
    except OSError:  # the end of a terminal
        pass
    process.wait()
    os.close(terminal)
    return shown.decode(errors="replace")


@pytest.mark.timeout(300)
def test_the_tab_key_completes(tmp_path, capsys, shell):
    lay_out(tmp_path)
    (tmp_path / "home/script").write_text(script(shell, capsys))
    lines = [f"astrossl {typed.replace('|', chr(9))}" for typed in TYPED]
    shown = press(SHELLS[shell], tmp_path, ["source home/script", NOTES[shell], *lines, "exit"])
    said = (tmp_path / "home/said").read_text().replace("/>", ">").splitlines()
    assert dict(zip(TYPED, said, strict=True)) == TYPED, shown


def test_the_table_has_every_verb_and_every_option():
    found = completion.contexts(parser())
    (verbs,) = [one for one in parser()._actions if isinstance(one, argparse._SubParsersAction)]
    for verb, below in verbs.choices.items():
        options = {option for action in below._actions for option in action.option_strings if option[1] == "-"}
        assert set(found[verb].options) == options, verb
    assert set(found["weights add"].options) == {"--help", "--name", "--anyway"}
    assert found["weights"].value.words == ("add", "fetch", "export", "list")


@pytest.mark.parametrize(("kind", "verb"), [("recipe", "preprocess"), ("run", "train")])
def test_what_set_completes_are_keys_that_it_takes(kind, verb):
    words = completion.contexts(parser())[verb].options["--set"].words
    known = {key.path for key in reference.keys(kind)}
    assert words
    assert {word.removesuffix("=") for word in words} <= known
    assert not [word for word in words if any(part.isupper() for part in word.split("."))]
