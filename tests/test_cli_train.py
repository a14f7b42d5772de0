"""``astrossl train`` from the command line."""

import dataclasses
import os
import subprocess
import sys

import pytest
from training_toys import ALL, HEAD, make_run, make_store

from hpc_astrossl import config
from hpc_astrossl.cli import main
from hpc_astrossl.errors import EXIT_DONE, EXIT_FAULT, EXIT_INPUT

pytestmark = pytest.mark.usefixtures("narrow")


@pytest.fixture
def workdir(tmp_path):
    make_store(tmp_path / "toy")
    (tmp_path / "run.yaml").write_text(config.dump(make_run(HEAD)))
    return tmp_path


def train(workdir, *options):
    return main(["train", str(workdir / "run.yaml"), "--workdir", str(workdir), *options])


def test_a_run_is_trained_with_changes_and_can_be_trained_from_its_own_configuration(workdir, capsys):
    assert train(workdir, "--set", "data.train_size=8", "--set", "seed=5") == EXIT_DONE
    (folder,) = (workdir / "runs" / "toys").iterdir()
    assert folder.name.startswith("toy_scratch_n8_s5-")
    assert str(folder) in capsys.readouterr().out
    assert main(["train", str(folder / "config.yaml"), "--workdir", str(workdir)]) == EXIT_DONE
    assert "this run is done already" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("data.train_sizes=8", "unknown key 'train_sizes'; allowed: bands, batch_size"),
        ("scheme=scratchy", "unknown scheme 'scratchy'; allowed:"),
        ("data.train_size=100", "train_size 100 is more than the 32 training objects"),
    ],
)
def test_wrong_input_is_one_message(workdir, capsys, setting, message):
    status = train(workdir, "--set", setting)
    assert status == EXIT_INPUT
    assert message in capsys.readouterr().err


def test_a_loss_that_is_no_number_is_a_message_and_status_1(workdir, capsys):
    status = train(workdir, "--set", "model.max_norm=null", "--set", "phases=[{trains: all, optimizer: sgd, "
                   "learning_rate: 1e30, epochs: 1}]")  # fmt: skip
    assert status == EXIT_FAULT
    error = capsys.readouterr().err
    assert error.startswith("astrossl train: the loss of epoch 1, step ")
    assert "Traceback" not in error


WITHOUT = """
import sys
for name in ("torchvision", "torch._dynamo", "torch.fx.experimental.symbolic_shapes"):
    sys.modules[name] = None  # to import it is an error
from pathlib import Path
from hpc_astrossl.cli import main
assert main(["train", "run.yaml", "--set", "data.train_size=8"]) == 0
(run,) = map(str, Path("runs/toys").iterdir())
assert main(["embed", run, "toy", "--out", "a.npz"]) == main(["predict", run, "toy", "--out", "a.csv"]) == 0
"""


def test_a_run_of_vgg16_starts_without_what_it_does_not_need(workdir):
    """Each of these libraries takes a second or more to import, and torch's optimisers and empty tensors would."""
    (workdir / "run.yaml").write_text(config.dump(make_run(HEAD, dataclasses.replace(ALL, epochs=1))))
    done = subprocess.run([sys.executable, "-c", WITHOUT], cwd=workdir, capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (workdir / "a.csv").exists()
