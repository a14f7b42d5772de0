#!/usr/bin/env bash
# lsdb writes a catalogue as a collection: the table and, unasked, a margin of 5 arcsec with copies of the objects near a
# partition's border. Both are files Npix=N.parquet of the same columns; who reads all of them has some objects more than once.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" --quiet --disable-pip-version-check install lsdb==0.11.1 hats==0.11.1 2> "$work/pip.log" || { cat "$work/pip.log"; exit 1; }
cd "$work" && cat > run.py <<'PY'
import pathlib
import warnings

import lsdb
import numpy as np
import pandas as pd
import pyarrow.dataset

if __name__ == "__main__":
    print("lsdb", lsdb.__version__)
    warnings.simplefilter("ignore")
    rng = np.random.default_rng(0)
    # 1,000 objects within 10 arcsec of the corner (ra 90, dec 0) and 1,000 elsewhere
    near, far = rng.uniform(-10 / 3600, 10 / 3600, (2, 1000)), rng.uniform(20, 40, (2, 1000))
    objects = pd.DataFrame({"id": np.arange(2000), "ra": np.concatenate([90 + near[0], far[0]]), "dec": np.concatenate([near[1], far[1]])})
    lsdb.from_dataframe(objects, ra_column="ra", dec_column="dec", catalog_name="survey", partition_rows=500).write_catalog("out", progress_bar=False)
    names = sorted(pathlib.Path("out").rglob("Npix=*.parquet"))
    main = [name for name in names if name.parts[1] == "survey"]
    for title, chosen in (("the table's files", main), ("all files", names)):
        found = pyarrow.dataset.dataset([str(name) for name in chosen]).to_table().column("id").to_numpy()
        print(f"{title}: {len(chosen)} files, {len(found)} rows, {len(np.unique(found))} objects")
        assert len(np.unique(found)) == 2000
        assert (len(found) == 2000) == (chosen is main)
    print("folders:", sorted(path.name for path in pathlib.Path("out").iterdir() if path.is_dir()))
PY
venv/bin/python run.py 2> log.txt || { cat log.txt; exit 1; }
