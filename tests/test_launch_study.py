"""A whole small study with real runs: pretext, a scheme on its weights, the report, in real submitit processes."""

import json
import re

import pytest
from launch_support import astrossl
from training_toys import BRIEF, make_store

RECIPE = f"""\
experiment: toys
pretext: {{store: stores/pretext.zarr}}
sets:
  toy: {{store: stores/toy.zarr}}
schemes: [features-magnitudes]
seeds: [0, 1]
sizes: [16]
{BRIEF}resources:
  all: {{memory_gb: 2}}
  features: {{pack: 2}}
"""


@pytest.mark.slow
def test_one_command_runs_the_study_and_the_next_adds_only_what_is_new(tmp_path):
    make_store(tmp_path / "stores/pretext.zarr", prefix="P", ra=100.0)
    make_store(tmp_path / "stores/toy.zarr")
    (tmp_path / "toys.yaml").write_text(RECIPE)
    done = astrossl("submit", "toys.yaml", "--cluster", "local", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 made, 0 failed" in done.stdout
    told = dict(re.findall(r"^done  (\S+)  accuracy ([\d.]+) \(test\)$", done.stdout, re.MULTILINE))
    for result in (json.loads(path.read_text()) for path in tmp_path.glob("runs/toys/*/result.json")):
        value = result["metrics"]["test"].get("accuracy")  # the pretext has none
        assert told.get(result["run_id"]) == (None if value is None else f"{value:.3f}")
    assert len(told) == 2
    assert (tmp_path / "reports/toys/report.html").exists()
    told = json.loads(astrossl("status", "toys", "--json", cwd=tmp_path).stdout)
    assert told["stages"] == {
        "pretext": {"done": 1}, "features-magnitudes": {"done": 2}, "report": {"done": 1},
    }  # fmt: skip
    results = [json.loads(path.read_text()) for path in tmp_path.glob("runs/toys/*/result.json")]
    (pretext,) = [result for result in results if result["scheme"] == "pretext"]
    for result in results:
        if result["scheme"] == "features-magnitudes":
            assert result["weights"]["name"] == f"run:{pretext['run_id']}"
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.glob("runs/toys/*/result.json")}

    nothing = astrossl("submit", "toys.yaml", "--cluster", "local", cwd=tmp_path)
    assert "4 done, 0 queued or running, 0 to submit" in nothing.stdout
    (tmp_path / "toys.yaml").write_text(RECIPE.replace("seeds: [0, 1]", "seeds: [0, 1, 2]"))
    more = astrossl("submit", "toys.yaml", "--cluster", "local", cwd=tmp_path)
    assert "4 done, 0 queued or running, 2 to submit" in more.stdout, more.stdout
    assert more.returncode == 0, more.stdout + more.stderr
    for path, stamp in stamps.items():
        assert path.stat().st_mtime_ns == stamp
    assert len(list(tmp_path.glob("runs/toys/*/result.json"))) == 4
