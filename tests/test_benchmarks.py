"""Benchmarks time what the product does: the step of training, and on GPUs all of it, which is skipped in words."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_step_that_is_timed_learns(monkeypatch, precision):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    training = importlib.import_module("training")
    made = []
    build = training.build
    monkeypatch.setattr(training, "build", lambda *words, **keys: made.append(build(*words, **keys)) or made[0])
    step = training.ours(torch.rand(4, 3, 32, 32), torch.arange(4) % 2, precision)
    before = {name: value.clone() for name, value in made[0].named_parameters()}
    step()
    assert all((value != before[name]).any() for name, value in made[0].named_parameters() if name.endswith("weight"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here: python benchmarks/gpu.py")
def test_without_a_gpu_its_benchmark_says_so():
    words = [sys.executable, str(BENCHMARKS / "gpu.py")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=200)
    assert done.returncode == 3, done.stderr
    assert "torch sees no GPU here: nothing was measured" in done.stdout
