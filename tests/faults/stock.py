"""What many rows begin from and none may change: a store and a finished run of it, made once."""

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

from training_toys import HEAD, make_run, make_store

from hpc_astrossl import config, names
from hpc_astrossl.training.folder import run_path
from hpc_astrossl.training.run import train


@cache
def workdir() -> Path:
    """A work directory with the store ``toy``, a finished run on its classes, and that run's ``run.yaml``."""
    folder = Path(tempfile.mkdtemp(prefix="astrossl-stock-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    make_store(folder / "toy")
    (folder / "run.yaml").write_text(config.dump(make_run(HEAD)))
    train(make_run(HEAD), folder)
    return folder


def run() -> Path:
    """The folder of the finished run."""
    return run_path(workdir(), "toys", names.resolved(make_run(HEAD)).run_id)


def copy(folder: Path) -> Path:
    """A copy of the work directory, to be spoilt; the path of the run's folder in it."""
    shutil.copytree(workdir(), folder, dirs_exist_ok=True)
    return folder / run().relative_to(workdir())
