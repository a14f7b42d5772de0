"""A work directory as version 0.1.0 left it (``golden/work_0_1_0.py``): read, marked, and never certified."""

import json
import os
import re
import shutil
import tarfile
from pathlib import Path

import pytest
from safetensors.torch import load_file

from hpc_astrossl.cli import main
from hpc_astrossl.errors import EXIT_DONE, EXIT_INPUT
from hpc_astrossl.identity import UNKNOWN
from hpc_astrossl.nets import seen, weights

GOLDEN = Path(__file__).parent / "golden" / "work-0.1.0.tar.xz"
STORE = "stores/images.zarr"


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(GOLDEN) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture
def work(unpacked, tmp_path, monkeypatch):
    """The directory, which is the current one; its large files are shared, and not to be changed."""
    copy = tmp_path / "work"
    shutil.copytree(unpacked, copy, copy_function=lambda a, b: (os.link if "weights" in a else shutil.copy2)(a, b))
    monkeypatch.chdir(copy)
    return copy


@pytest.fixture
def run(work):
    (found,) = (work / "runs" / "old").glob("images_*_s0-*")
    return found.relative_to(work)


def said(capsys) -> str:
    found = capsys.readouterr()
    return found.out + found.err


def test_the_store_is_read_and_marked(work, capsys):
    assert main(["info", STORE]) == EXIT_DONE
    assert f"marked      {UNKNOWN}" in said(capsys)
    assert main(["check", STORE, "--deep"]) == EXIT_DONE
    command = ["preprocess", "recipe.yaml", "--source", "pictures", "--out", "stores", "--set", "files.crop=36"]
    for task in ([], ["--task", "1/2"]):
        assert main([*command, *task]) == EXIT_INPUT
        assert f"already there, {UNKNOWN}" in said(capsys)


@pytest.mark.parametrize(
    "command", [["status", "old"], ["plan", "jobs.yaml"], ["submit", "jobs.yaml", "--cluster", "local"]]
)
def test_the_study_is_done_and_marked(work, capsys, command):
    assert main(command) == EXIT_DONE
    words = said(capsys)
    assert re.search(rf"done +2 runs \(\w+_s0-\w+, …\): {UNKNOWN}", words)
    if command[0] != "status":
        assert f"done  1 stores ({STORE}): {UNKNOWN}" in words


def test_an_edited_recipe_is_noticed(work, capsys):
    recipe = work / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("size: 32", "size: 24"))
    assert main(["submit", "jobs.yaml", "--cluster", "local"]) == EXIT_INPUT
    assert f"{STORE}: was made by another recipe or other settings (size: 32 then, 24 now)" in said(capsys)


def test_status_names_a_run_whose_first_weights_are_others(work, run, capsys):
    result = work / run / "result.json"
    content = json.loads(result.read_text())
    content["weights"]["sha256"] = "0" * 64
    result.write_text(json.dumps(content))
    assert main(["status", "old"]) == EXIT_DONE
    assert f"{run.name}: began from other weights than run pretext_" in said(capsys)


def test_predict_and_embed_say_it_and_keep_it(work, run, capsys):
    assert main(["predict", str(run), STORE, "--out", "new.csv"]) == EXIT_DONE
    assert f"{run}: {UNKNOWN}" in said(capsys)
    assert json.loads((work / "new.csv.json").read_text())["trained_on"] == UNKNOWN
    assert main(["embed", str(run), STORE, "--out", "new.npz"]) == EXIT_DONE
    assert f"{run}: {UNKNOWN}" in said(capsys)


def test_pictures_need_to_be_told_how_they_are_made(work, run, capsys):
    (work / "new").mkdir()
    (work / "pictures/star/00.png").rename(work / "new/00.png")
    assert main(["predict", str(run), "new", "--out", "new.csv"]) == EXIT_INPUT
    assert "how the run's images were made is unknown" in said(capsys)
    assert main(["predict", str(run), "new", "--out", "new.csv", "--crop", "36"]) == EXIT_DONE


def test_half_an_embedding_is_not_gone_on_with(work, run, capsys):
    assert main(["embed", str(run), STORE, "--out", "half.zarr"]) == EXIT_INPUT
    assert f"half.zarr.parts: holds parts {UNKNOWN}; remove it, or choose another --out" in said(capsys)


def test_an_embedding_is_explored_and_classified_and_marked(work, capsys):
    (work / "labels.csv").write_text(
        "object_id,class\n" + "".join(f"{name}/{n:02d}.png,{name}\n" for name in ("star", "galaxy") for n in range(8))
    )
    assert main(["explore", "all.zarr", "--out", "seen"]) == EXIT_DONE
    assert f"all.zarr: {UNKNOWN}" in said(capsys)
    assert main(["classify", "all.zarr", "--labels", "labels.csv", "--out", "answers.csv"]) == EXIT_DONE
    assert f"all.zarr: {UNKNOWN}" in said(capsys)


def test_a_killed_run_goes_on_and_certifies_nothing(work, capsys):
    (run,) = (work / "runs/old").glob("images_*_s7-*")
    assert list(run.glob("checkpoint/*.pt"))
    assert main(["train", str(run / "config.yaml")]) == EXIT_DONE
    assert UNKNOWN in said(capsys)
    result = json.loads((run / "result.json").read_text())
    assert result["weights"]["sha256"] is None
    assert [(one["shared"], one["why"]) for one in result["leakage"]] == [(None, UNKNOWN)]


def test_weights_are_exported_and_marked(work, run, capsys):
    assert main(["weights", "export", str(run), "out.safetensors"]) == EXIT_DONE
    assert f"{run}: {UNKNOWN}" in said(capsys)
    assert UNKNOWN in (work / "out.safetensors.md").read_text()
    file = work / "out.safetensors"
    assert not any(one["certain"] for one in seen.read(file, weights.digest(load_file(file))).runs)


def test_the_report_does_not_certify(work, capsys):
    assert main(["report", "old"]) == EXIT_DONE
    page = (work / "reports/old/report.html").read_text()
    assert f"not known, of what was {UNKNOWN}" in page
    (table,) = (work / "reports/old").rglob("leakage*.csv")
    assert all(",0," not in line for line in table.read_text().splitlines()[1:])
