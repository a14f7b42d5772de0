"""Faults that would be silently wrong: each kind's tests are run, and counted into benchmarks/results/faults.json.

    python tests/faults/silent.py      # ten minutes on two cores

A test that fails is a fault that passed in silence, or with other words than were promised. Exit status 1 then.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(1, str(Path(__file__).resolve().parents[2]))
from faults import record
from faults.trials import Tally

TESTS = Path(__file__).resolve().parents[1]
KINDS = {
    "a store is replaced, copied over or changed while it is read": "test_store_replaced.py",
    "stores, weights, configurations and parts that are others now": "test_identity.py",
    "done, though recipe, settings, tables, pictures, stores or runs are others": "test_launch_current.py",
    "objects that the weights have seen": "test_leakage.py",
    "runs, weights, parts and embeddings copied, renamed, restored or exchanged by hand": "test_old_for_new_runs.py",
    "recipes, tables, pictures and fields edited, exchanged, restored or linked by hand": "test_old_for_new_inputs.py",
    "runs of several stores or pretext runs in one cell": "test_report_current.py",
    "pictures cut otherwise than they were learnt; files that move between tasks": "test_training_pictures.py",
    "equal pictures in two splits or classes": "test_ingest_equal.py",
    "twins without pixels, rows of one id that are several objects": "test_ingest_twins.py",
    "ids that lost digits, magnitudes that stand for no value": "test_catalogue_doubt.py",
    "ids whose letters are encoded in two ways": "test_ids.py",
    "masks and fields of another grid": "test_cutting_scales.py",
    "what version 0.1.0 left": "test_upgrade.py",
    "scratch copies that are not ours": "test_store_staging.py",
    "files that claim to be larger than they are; odd names, full disks, closed pipes": "test_claims.py",
    "locks that are refused, and holders that are gone": "test_locks.py",
    "what others have reported of their programs": "test_public_reports.py",
    "classes, channels, orientation, leaks, metrics, flipped bits": "test_silent_corruption.py",
}


def main() -> int:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    wrong = 0
    for kind, file in KINDS.items():
        tally = _counted(kind, file)
        print("\n".join([record.row(tally), *(f"  LOST {words}" for words in tally.lost)]), flush=True)
        record.add("silent", tally)
        wrong += len(tally.lost)
    return 1 if wrong else 0


def _counted(kind: str, file: str) -> Tally:
    """The tests of a file, one fault each."""
    tally, begin = Tally(kind, "exit 2 that names it, or the right value"), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder) / "told.xml"
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-n0",
            "-p",
            "no:cacheprovider",
            f"--junitxml={told}",
            f"tests/{file}",
        ]
        environment = os.environ | {"PYTHONPATH": str(TESTS.parent), "OMP_NUM_THREADS": "1"}
        subprocess.run(command, cwd=TESTS.parent, capture_output=True, env=environment)
        cases = ET.parse(told).getroot().iter("testcase")
        for case in cases:
            if case.find("skipped") is None:
                bad = case.find("failure") is not None or case.find("error") is not None
                tally.count(file, case.get("name") if bad else None)
    tally.seconds = time.monotonic() - begin
    return tally


if __name__ == "__main__":
    sys.exit(main())
