"""The whole chain as the demo runs it, at a tiny size: simulate, preprocess, pretext, a scheme, report."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import recompute

from hpc_astrossl import cli, config
from hpc_astrossl.cli import demo
from hpc_astrossl.specs.jobs import JobsSpec

ROOT = Path(__file__).parent.parent
TINY = {
    "seeds": [0, 1],
    "sizes": [24],
    "schemes": ["scratch", "features-magnitudes", "features-imagenet"],
    "preprocess": [
        {"recipe": "preprocess/simulated.yaml", "source": "survey", "out": "stores/pretext.zarr"},
        {"recipe": "preprocess/simulated.yaml", "source": "survey", "out": "stores/SG.zarr"},
        {"recipe": "preprocess/efigi.yaml", "source": "examples/efigi", "out": "stores/EF-4.zarr",
         "settings": ["size=32"]},
    ],
    "overrides": {
        "all": {"model": {"hidden": 32}, "phases": [
            {"trains": "head", "optimizer": "adam", "learning_rate": 1e-3, "epochs": 2}]},
    },
}  # fmt: skip


@pytest.mark.slow
def test_the_demo_s_commands_lead_from_nothing_to_a_report(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ASTROSSL_CACHE", str(tmp_path / "cache"))  # where no full-precision weights lie
    monkeypatch.setattr(demo, "SURVEY", ("--fields", "1", "--objects", "260", "--size", "900"))
    recipes = tmp_path / "checkout"
    for name in demo.BUNDLED:
        shutil.copytree(ROOT / name, recipes / name)
    tiny = config.parse({**config.read_yaml(ROOT / "jobs/demo.yaml"), **TINY}, JobsSpec, "tiny")
    (recipes / "jobs/demo.yaml").write_text(config.dump(tiny))
    monkeypatch.setattr(demo, "CHECKOUT", recipes)

    out = tmp_path / "demo"
    assert cli.main(["demo", "--out", str(out)]) == 0
    last = capsys.readouterr().out.strip().splitlines()[-1]
    page = Path(last.removeprefix("The report: "))
    assert page == out / "reports/demo/report.html"
    text = page.read_text()
    assert "imagenet-vgg16 (half precision)" in text  # the shipped ones: no run is skipped
    assert "EF-4" in text

    results = [json.loads(path.read_text()) for path in out.glob("runs/demo/*/result.json")]
    assert len(results) == 1 + 3 * 2 * 2  # pretext, and three schemes on two sets with two seeds
    galaxies = [result for result in results if result["set"] == "EF-4"]
    assert all(result["store"]["survey"] == "EFIGI" for result in galaxies)
    ids = np.load(next(out.glob("runs/demo/EF-4_*/predictions.npz")))["object_id"]
    assert all(object_id.startswith("PGC") for object_id in ids)
    planned = json.loads((out / "runs/demo/experiment.json").read_text())
    assert planned["skipped"] == []

    assert recompute.check(out / "runs/demo", out / "reports/demo") > 50  # by numpy and scikit-learn alone
    stamps = {path: path.stat().st_mtime_ns for path in out.glob("runs/demo/*/result.json")}
    assert cli.main(["demo", "--out", str(out)]) == 0  # the second time there is nothing to do
    assert capsys.readouterr().out.strip().splitlines()[-1] == last
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
