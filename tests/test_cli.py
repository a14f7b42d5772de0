"""The command line as a whole: every verb helps, wrong input ends in one line and status 2, doctor tells the truth."""

import argparse
import importlib.util
import json
import re
import shutil
from pathlib import Path

import pytest

from hpc_astrossl import __version__, cli, names
from hpc_astrossl.cli import demo
from hpc_astrossl.cli.screen import at
from hpc_astrossl.errors import EXIT_CONTINUE, EXIT_INPUT, InputError, Interrupted

VERBS = {
    "doctor", "demo", "simulate", "preprocess", "info", "check", "cutout", "train", "plan", "submit", "status", "logs",
    "cancel", "report", "embed", "predict", "explore", "classify", "labels", "weights", "help", "new", "completion",
}  # fmt: skip


def verbs(asked: str | None = None) -> dict[str, argparse.ArgumentParser]:
    (action,) = [a for a in cli.parser(asked)._actions if isinstance(a, argparse._SubParsersAction)]
    return action.choices


def test_the_verbs_are_the_design_s():
    assert set(verbs()) == VERBS


@pytest.mark.parametrize(("module", "theirs"), cli.MODULES.items())
def test_a_verb_s_module_alone_is_loaded_and_adds_what_it_is_said_to(module, theirs):
    for verb in theirs:
        assert tuple(verbs(verb)) == theirs


def test_a_word_that_is_no_verb_gets_the_whole_list(capsys):
    with pytest.raises(SystemExit):
        cli.main(["trian"])
    told = set(re.findall("[a-z]+", capsys.readouterr().err))  # not every Python puts them in quotes
    assert sorted(VERBS - told) == []


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_every_verb_helps_with_an_example(verb, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main([verb, "--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    assert "example" in text
    assert f"astrossl {verb}" in text.split("example", 1)[1]


@pytest.mark.parametrize(
    ("fault", "status"),
    [(InputError("what, which, allowed, do"), EXIT_INPUT), (Interrupted("goes on later"), EXIT_CONTINUE)],
)
def test_what_the_user_can_mend_is_one_line_without_a_traceback(monkeypatch, capsys, fault, status):
    def handler(arguments):
        raise fault

    monkeypatch.setattr(cli.doctor, "_doctor", handler)
    assert cli.main(["doctor"]) == status
    assert capsys.readouterr().err == f"astrossl doctor: {fault}\n"


def test_an_unknown_verb_names_the_allowed_ones(capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(["trian"])
    assert end.value.code == EXIT_INPUT
    assert "invalid choice: 'trian'" in capsys.readouterr().err


def test_doctor_tries_what_it_reports(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("ASTROSSL_CACHE", str(tmp_path))
    assert cli.main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["hpc_astrossl"]["detail"].startswith(__version__)
    assert "bfloat16 on the CPU is " in found["torch"]["detail"]
    assert found["DALI"]["works"]
    assert "a pipeline ran" in found["DALI"]["detail"]
    assert found["Horovod"]["works"] is (importlib.util.find_spec("horovod") is not None)
    assert ("Gloo" in found["Horovod"]["detail"]) is found["Horovod"]["works"]
    if shutil.which("sinfo") is None:
        assert found["Slurm"]["detail"] == "sinfo is not on the PATH"
    assert found["ImageNet weights"]["works"]
    assert "(half precision, shipped)" in found["ImageNet weights"]["detail"]
    (tmp_path / "weights").mkdir()
    (tmp_path / f"weights/{names.IMAGENET}.safetensors").touch()
    assert cli.main(["doctor"]) == 0
    assert f"ImageNet weights  works  {tmp_path}" in capsys.readouterr().out


def test_the_demo_says_that_it_needs_a_checkout(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(demo, "CHECKOUT", tmp_path)
    assert cli.main(["demo", "--out", str(tmp_path / "out")]) == EXIT_INPUT
    assert "no folder preprocess, jobs, examples/efigi here; the demo runs from a checkout" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_printed_command_finds_the_work_directory_from_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert [at(Path()), at(tmp_path), at(Path("my runs"))] == ["", "", " --workdir 'my runs'"]
