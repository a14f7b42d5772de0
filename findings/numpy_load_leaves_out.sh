#!/usr/bin/env bash
# Arrays of cutouts are shared as .npy and .npz. Of two arrays that were saved into one .npy file, one after the other, numpy.load reads
# the first and says nothing; mmap_mode is taken for a .npz and not obeyed: the array is read into memory whole.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" --quiet --disable-pip-version-check install numpy==2.2.6 2> "$work/pip.log" || { cat "$work/pip.log"; exit 1; }
cd "$work"
"$work/venv/bin/python" -W error - <<'PY'
import numpy as np

print("numpy", np.__version__)
first, second = np.arange(6.0).reshape(2, 3), np.arange(12.0).reshape(4, 3)
with open("two.npy", "wb") as stream:  # as a loop over nights or batches does
    np.save(stream, first)
    np.save(stream, second)
for mode in (None, "r"):
    found = np.load("two.npy", mmap_mode=mode)
    print(f"mmap_mode={mode}: {len(found)} of {len(first) + len(second)} rows")
    assert found.shape == first.shape

np.savez("one.npz", images=second)
inside = np.load("one.npz", mmap_mode="r")["images"]
print("of a .npz with mmap_mode='r':", type(inside).__name__)
assert not isinstance(inside, np.memmap)
assert isinstance(np.load("two.npy", mmap_mode="r"), np.memmap)
PY
