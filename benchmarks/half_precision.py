"""What half precision of the shipped ImageNet weights changes on EFIGI: ``python benchmarks/half_precision.py FULL``.

FULL is a file with the same convolutions in full precision. The features of the thumbnails in examples/efigi (600
galaxies, four classes) are computed with both; a logistic regression on each, over the same ten splits, tells the
accuracies. Writes benchmarks/results/half_precision.json.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedShuffleSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from hpc_astrossl.cache import BUNDLED, BUNDLED_FOLDER
from hpc_astrossl.nets import weights
from hpc_astrossl.nets.vgg import build
from hpc_astrossl.provenance import sha256
from hpc_astrossl.specs.run import ModelSpec

ROOT = Path(__file__).parent.parent
MEAN = (123.68, 116.779, 103.939)
SIDE = 64
CLASSES = {**dict.fromkeys(range(-6, -3), 0), **dict.fromkeys(range(10), 1), **dict.fromkeys(range(-3, 0), 2), 10: 3}


def thumbnails() -> tuple[np.ndarray, np.ndarray]:
    """(images uint8 N × 64 × 64 × 3, labels N) of the four classes of EF-4."""
    images, labels = [], []
    for line in (ROOT / "examples/efigi/EFIGI_attributes.txt").read_text().splitlines():
        words = line.split()
        path = ROOT / "examples/efigi" / f"{words[0]}.jpg" if words else ROOT
        if path.is_file() and int(words[1]) in CLASSES:
            with Image.open(path) as image:
                images.append(np.asarray(image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX)))
            labels.append(CLASSES[int(words[1])])
    return np.array(images), np.array(labels)


def features(images: np.ndarray, file: Path) -> np.ndarray:
    """Pooled output of the convolutions, float64 (N, 512)."""
    model = build(ModelSpec(hidden=8), shape=(SIDE, SIDE, 3), outputs=2, seed=0)
    model.load_state_dict(model.state_dict() | weights.read(file))
    scaled = (torch.from_numpy(images).float() - torch.tensor(MEAN)).permute(0, 3, 1, 2)
    with torch.inference_mode():
        made = [model.features(part).mean(dim=(2, 3)) for part in scaled.split(50)]
    return torch.cat(made).double().numpy()


def accuracy(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Test accuracies of a logistic regression over ten seeded splits of 80 and 20%."""
    found = []
    for train, test in StratifiedShuffleSplit(10, test_size=0.2, random_state=0).split(values, labels):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=2000))
        found.append(model.fit(values[train], labels[train]).score(values[test], labels[test]))
    return np.array(found)


def main() -> None:
    """Compute both, and write what differs."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("full", metavar="FULL", type=Path)
    full = options.parse_args().full
    file, digest = BUNDLED["imagenet-vgg16"]
    images, labels = thumbnails()
    half, whole = features(images, BUNDLED_FOLDER / file), features(images, full)
    scores = accuracy(half, labels), accuracy(whole, labels)
    result = {
        "command": "python benchmarks/half_precision.py FULL",
        "objects": len(labels),
        "sha256": {"half": digest, "full": sha256(full)},
        "features": {
            "largest difference over the largest feature": float(np.abs(half - whole).max() / np.abs(whole).max()),
            "rms difference over the rms feature": float(np.sqrt(np.mean((half - whole) ** 2) / np.mean(whole**2))),
        },
        "accuracy": {
            "half": float(scores[0].mean()),
            "full": float(scores[1].mean()),
            "largest difference of a split": float(np.abs(scores[0] - scores[1]).max()),
        },
    }
    (ROOT / "benchmarks/results/half_precision.json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
