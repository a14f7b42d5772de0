"""Makes ``work-0.1.0.tar.xz``, a work directory as 0.1.0 left it: a store made by a recipe, one with magnitudes,
a pretext run, a run that begins from it and one that was killed in its midst, an embedding, and half of another.

    git worktree add --detach OLD 991ffdc
    PYTHONPATH=OLD:OLD/tests python tests/golden/work_0_1_0.py tests/golden/work-0.1.0.tar.xz

All is what that version wrote, but for the convolutions in weights.safetensors, which are zero, and their SHA-256 in
the results: VGG16 has 59 MB of them.
"""

import itertools
import json
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.numpy import load_file, save_file
from training_toys import BRIEF, make_store

from hpc_astrossl import provenance
from hpc_astrossl.cli import main
from hpc_astrossl.training import apply, checkpoint

RECIPE = """\
survey: images
release: "1"
size: 32
catalogue: {format: folders, file: "{class}/{name}.{type}", id: file}
files: {image: "{file}"}
split: {train: 0.5, validation: 0.25, test: 0.25}
stores:
  images: {labels: {source: column, column: class, classes: {star: [star], galaxy: [galaxy]}}}
"""
JOBS = f"""\
experiment: old
preprocess: [{{recipe: recipe.yaml, source: pictures, out: stores/images.zarr, settings: [files.crop=36]}}]
pretext:
  store: stores/pre.zarr
  overrides:
    data: {{batch_size: 8}}
    model: {{hidden: 4}}
    phases: [{{trains: head, optimizer: adam, learning_rate: 1e-3, epochs: 1}}]
sets: {{images: {{store: stores/images.zarr}}}}
schemes: [features-magnitudes]
seeds: [0]
{BRIEF}"""


def work() -> None:
    """Fill the folder that is the current one."""
    random = np.random.default_rng(0)
    for name, level in (("star", 60), ("galaxy", 170)):
        (Path("pictures") / name).mkdir(parents=True)
        for number in range(12):
            image = Image.fromarray(np.clip(random.normal(level, 25, (3, 3, 3)), 0, 255).astype(np.uint8))
            image.resize((40, 40), Image.Resampling.NEAREST).save(f"pictures/{name}/{number:02d}.png")
    make_store(Path("stores/pre.zarr"), objects=12)
    Path("recipe.yaml").write_text(RECIPE)
    Path("jobs.yaml").write_text(JOBS)
    assert main(["submit", "jobs.yaml", "--cluster", "local"]) == 0
    (run,) = Path("runs/old").glob("images_*")
    assert main(["embed", str(run), "stores/images.zarr", "--out", "all.zarr"]) == 0
    apply.embed(apply.Job(run=run, source=Path("stores/images.zarr"), outs=[Path("half.zarr")], task=(1, 2),
                          part_rows=8))  # fmt: skip
    text = (run / "config.yaml").read_text().replace("seed: 0", "seed: 7").replace("epochs: 2", "epochs: 5")
    Path("killed.yaml").write_text(text)
    command = [sys.executable, str(Path(__file__).resolve()), "--killed"]
    assert subprocess.run(command).returncode == -signal.SIGKILL


def killed() -> None:
    """A run that has saved two checkpoints, and no more."""
    keep, count = checkpoint.Checkpoints.save, itertools.count(1)

    def save(self, *arguments):
        keep(self, *arguments)
        if next(count) == 2:
            os.kill(os.getpid(), signal.SIGKILL)

    checkpoint.Checkpoints.due = lambda self, within=False: not within
    checkpoint.Checkpoints.save = save
    main(["train", "killed.yaml"])


def small() -> None:
    """Weights that are zero, and results that know them."""
    digests: dict[str, str] = {}
    for folder in sorted(Path("runs/old").glob("*/result.json"), key=lambda path: "pretext" not in path.parent.name):
        folder = folder.parent
        tensors = load_file(folder / "weights.safetensors")
        zero = {name: np.zeros_like(values) for name, values in tensors.items() if name.startswith("features.")}
        save_file(tensors | zero, folder / "weights.safetensors")
        result = json.loads((folder / "result.json").read_text())
        digests[folder.name] = provenance.sha256(folder / "weights.safetensors")
        result["files"]["weights.safetensors"] = digests[folder.name]
        if (earlier := result["weights"]["name"]) is not None:
            result["weights"]["sha256"] = digests[earlier.removeprefix("run:")]
        (folder / "result.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    if sys.argv[1] == "--killed":
        sys.exit(killed())
    target = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        work()
        small()
        with tarfile.open(target, "w:xz") as archive:
            for name in sorted(path.name for path in Path().iterdir()):
                if name not in ("features", "reports"):
                    archive.add(name, filter=lambda one: None if "tfevents" in one.name else one)
