#!/usr/bin/env bash
# openTSNE with the same random_state draws another map with another n_jobs: its approximate neighbours (the default above
# 1,000 points) depend on the number of threads. With exact neighbours they do not. Nothing warns of it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" --quiet --disable-pip-version-check install openTSNE==1.0.4 scikit-learn==1.9.1 scipy==1.17.1 numpy==2.2.6 2> "$work/pip.log" || { cat "$work/pip.log"; exit 1; }
"$work/venv/bin/python" - <<'PY'
import warnings

import numpy as np
import openTSNE

print("openTSNE", openTSNE.__version__)
warnings.simplefilter("error")
rng = np.random.default_rng(0)
points = rng.normal(size=(2000, 20)) + rng.normal(size=(6, 20))[rng.integers(0, 6, 2000)]


def drawn(jobs, neighbors):
    tsne = openTSNE.TSNE(random_state=1, n_jobs=jobs, neighbors=neighbors, n_iter=50, early_exaggeration_iter=100)
    return np.asarray(tsne.fit(points))


for neighbors in ("auto", "exact"):
    one, two = drawn(1, neighbors), drawn(2, neighbors)
    apart, again = np.abs(one - two).max(), np.abs(one - drawn(1, neighbors)).max()
    print(f"{neighbors} neighbours: n_jobs 1 and 2 up to {apart:.3g} apart, 1 and 1 {again:.3g}, on a map {np.ptp(one):.3g} wide")
    assert again == 0
    assert apart > 0.05 * np.ptp(one) if neighbors == "auto" else apart < 1e-6
PY
