"""The fault suite itself, on a handful of points: it finds nothing lost, and finds what a careless writer loses."""

import os
import subprocess
import sys

import pytest
from launch_support import CHECKOUT

from hpc_astrossl import store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
CARELESS = """
import sys
from pathlib import Path
from faults import preprocessing, victims
from faults.prepared import Prepared
from faults.trials import Plan, Trials
victims.warm_up()
scene = preprocessing.scene("careless", "--workers", "1", "--store", "SG", setup="test_faults:careless")
tally = Trials(Prepared(scene, Path(sys.argv[1])), Plan(kills=0, ends=12, signals=0, whole=0, chains=0)).run()
kind = "SIGKILL at the end"  # the store lies under its name, and is written to once more
print(tally.tried[kind], tally.tried[kind] - tally.survived[kind], tally.lost)
"""


def careless() -> None:
    """In a victim: a store's attributes are written once more when it lies under its name, in place."""
    from faults.preprocessing import small_shards

    small_shards()
    finish = store.StoreWriter.finish

    def rewriting(self, info):
        made = finish(self, info)
        attributes = made / "zarr.json"
        data = attributes.read_bytes()
        attributes.unlink()
        attributes.write_bytes(data)
        return made

    store.StoreWriter.finish = rewriting


def python(*arguments: str) -> subprocess.CompletedProcess:
    variables = {**os.environ, "PYTHONPATH": f"{CHECKOUT}/tests:{CHECKOUT}"}
    return subprocess.run([sys.executable, *arguments], env=variables, capture_output=True, text=True)


@pytest.mark.parametrize(("fault", "points"), [("kills", 8), ("disks", 3), ("twins", 10)])
def test_nothing_is_lost_at_a_few_points(fault, points):
    few = ("--kills", "4", "--signals", "2", "--dry", "--only", fault)
    done = python(str(CHECKOUT / "tests/faults/run.py"), "preprocess", *few)
    assert done.returncode == 0, done.stdout + done.stderr
    row = next(line for line in done.stdout.splitlines() if line.startswith("| preprocess |"))
    tried, survived, lost = (int(entry) for entry in row.split("|")[2:5])
    assert tried == survived >= points
    assert lost == 0


def test_a_careless_writer_is_found(tmp_path):
    done = python("-c", CARELESS, str(tmp_path))
    tried, lost, words = done.stdout.split(maxsplit=2)
    assert tried == "12", done.stdout + done.stderr
    assert int(lost) >= 1, done.stdout + done.stderr
    assert "SG.zarr" in words
