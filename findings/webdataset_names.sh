#!/usr/bin/env bash
# In webdataset's tar files a sample's name ends at the first full stop. Objects named by their place (J1234.5+0123) are cut
# there when they are read back, and neighbours that agree up to it become one sample, without a word from writer or reader.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" --quiet --disable-pip-version-check install webdataset==1.0.2 numpy==2.2.6 2> "$work/pip.log" || { cat "$work/pip.log"; exit 1; }
cd "$work" && venv/bin/python - <<'PY'
import warnings

import webdataset

print("webdataset", webdataset.__version__)
warnings.simplefilter("error", UserWarning)
names = ["J1234.5+0123", "J1234.7+0456", "J1300+0100"]
with webdataset.TarWriter("objects.tar") as writer:
    for name in names:
        writer.write({"__key__": name, "png": b"pixels", "cls": b"1"})
found = [{key: value for key, value in sample.items() if key not in ("__url__", "__local_path__")}
         for sample in webdataset.WebDataset("objects.tar", shardshuffle=False)]
for sample in found:
    print(sample["__key__"], "with", sorted(set(sample) - {"__key__"}))
# Seen: two samples of three; the first has both objects' pictures and none that is called png.
assert len(found) == 2
assert found[0]["__key__"] == "J1234"
assert "png" not in found[0]
assert {"5+0123.png", "7+0456.png"} <= set(found[0])
assert found[1]["__key__"] == names[2]
assert "png" in found[1]
PY
