"""docs/first-hour.md is followed to the letter: its files are written as shown, its commands run in their order."""

import csv
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import recompute

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "docs/first-hour.md").read_text(encoding="utf-8")
WAYS = {
    title: part for title, part in re.findall(r"^## (.+)\n((?:(?!^## ).*\n)*)", TEXT, re.MULTILINE) if "```" in part
}
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def shell(tmp_path):
    """Run a block of commands as a user would, in an empty folder, stopping at the first that fails."""
    place = tmp_path / "bin"
    place.mkdir()
    for name, words in (("astrossl", "-m hpc_astrossl"), ("python", "")):
        (place / name).write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {words} "$@"\n')
        (place / name).chmod(0o755)
    (tmp_path / "work").mkdir()
    variables = {**os.environ, "PATH": f"{place}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT),
                 "ASTROSSL_CACHE": str(tmp_path / "cache")}  # fmt: skip

    def run(text: str) -> str:
        done = subprocess.run(["bash", "-eu", "-c", text], cwd=tmp_path / "work", env=variables, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip
        assert done.returncode == 0, f"{text}\n{done.stdout}"
        assert "Traceback" not in done.stdout
        return done.stdout

    return run


def follow(part: str, shell, folder: Path) -> str:
    """Everything that a part of the page prints."""
    said = ""
    for kind, text in BLOCK.findall(part):
        if kind == "yaml":
            (folder / re.match(r"# (\S+)", text)[1]).write_text(text)
        else:
            assert kind == "sh"
            said += shell(text)
    return said


def test_the_page_has_three_ways_whose_blocks_are_commands_or_files():
    assert len(WAYS) == 3
    assert {kind for part in WAYS.values() for kind, _ in BLOCK.findall(part)} == {"sh", "yaml"}
    assert TEXT.count("```") == 2 * len(BLOCK.findall(TEXT))


def test_the_five_lines_of_the_readme_are_among_them():
    (block,) = BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    lines = block[1].splitlines()
    assert len(lines) == 5
    assert set(lines) <= set(WAYS["A folder of pictures"].splitlines())


@pytest.mark.slow
@pytest.mark.timeout(1500)  # half a minute of work in a dozen processes, and ten times as long on a loaded machine
@pytest.mark.parametrize("way", WAYS)
def test_every_way_leads_to_a_report_of_a_network_that_has_learnt(way, shell, tmp_path):
    work = tmp_path / "work"
    said = follow(WAYS[way], shell, work)
    (page,) = work.glob("reports/*/report.html")
    assert str(page.relative_to(work)) in said
    results = [json.loads(path.read_text()) for path in work.glob("runs/*/*/result.json")]
    assert len(results) == 4
    best = max(one["metrics"]["test"]["accuracy"] for one in results if one["scheme"] == "features-imagenet")
    assert best > 0.7  # of two classes with as many objects
    assert recompute.check(next(work.glob("runs/*")), page.parent) > 10
    for link in re.findall(r"Open `(.+?)`", WAYS[way]):
        assert (work / link).is_file()
    for table in work.glob("*.csv"):
        answers = list(csv.DictReader(table.read_text().splitlines()))
        assert len(answers) > 1
        assert {"object_id", "class"} < set(answers[0])
