#!/usr/bin/env bash
# fpack compresses tables, too, by the FITS standard; astropy and fitsio open the result as a table of one row whose cells are
# the packed bytes, under the right column names and without a word. Needs fpack of CFITSIO 4.2 (Debian 12: libcfitsio-bin).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/debs" && cd "$work/debs"
apt-get --simulate --no-install-recommends install libcfitsio-bin=4.2.0-3 > plan.txt  # Debian 12; what is not installed is unpacked here alone
sed -nE 's/^Inst ([^ ]+) (\[[^]]*\] )?\(([^ ]+) .*/\1=\3/p' plan.txt | xargs -r apt-get --quiet=2 download
for deb in *.deb; do [ ! -e "$deb" ] || dpkg -x "$deb" "$work/debian"; done
export PATH="$work/debian/usr/bin:$PATH" LD_LIBRARY_PATH="$work/debian/usr/lib/x86_64-linux-gnu"
fpack -V | head -1
python3 -m venv "$work/venv"
"$work/venv/bin/pip" --quiet --disable-pip-version-check install astropy==7.1.0 fitsio==1.4.2 numpy==2.2.6 2> "$work/pip.log" || { cat "$work/pip.log"; exit 1; }
cd "$work"
venv/bin/python -c 'import numpy as np; from astropy.table import Table; Table({"id": np.arange(500), "ra": np.arange(500) / 3}).write("table.fits")'
fpack -table -O packed.fits table.fits > /dev/null
cat > look.py <<'PY'
import warnings

import astropy
import fitsio
from astropy.table import Table

print("astropy", astropy.__version__, "fitsio", fitsio.__version__)
warnings.simplefilter("error")
table, rows = Table.read("packed.fits"), fitsio.read("packed.fits")
print(f"astropy: {len(table)} row, {table.colnames}; the cell of id is {type(table['id'][0]).__name__} of {len(table['id'][0])} bytes")
print(f"fitsio: {rows.shape[0]} row, {rows.dtype}")
assert table.colnames == ["id", "ra"]
assert len(table) == len(rows) == 1
assert table["id"][0].dtype == rows["id"].dtype.base == "uint8"
PY
venv/bin/python look.py
funpack -O whole.fits packed.fits
venv/bin/python -c 'from astropy.table import Table; assert (Table.read("whole.fits")["id"] == range(500)).all()'
