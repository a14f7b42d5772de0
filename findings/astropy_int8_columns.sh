#!/usr/bin/env bash
# A column of signed 8-bit numbers (class codes, HEALPix orders in Parquet catalogues) written by astropy into a FITS table becomes a
# logical one: 58 and -3 come back as True, without a word. Unsigned 8-bit and signed 16-bit columns come back as they were; an int8
# image keeps its numbers.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" --quiet --disable-pip-version-check install astropy==7.1.0 numpy==2.2.6 2> "$work/pip.log" || { cat "$work/pip.log"; exit 1; }
cd "$work" && venv/bin/python -W error - <<'PY'
import astropy
import numpy as np
from astropy.io import fits
from astropy.table import Table

print("astropy", astropy.__version__)
numbers = [58, -3, 0, 1]
Table({"i8": np.array(numbers, np.int8), "i16": np.array(numbers, np.int16), "u8": np.abs(numbers).astype(np.uint8)}).write("t.fits")
back = Table.read("t.fits")
for name in back.colnames:
    print(f"{name}: written {numbers if name != 'u8' else [abs(one) for one in numbers]}, read {back[name].tolist()}, "
          f"TFORM {fits.getdata('t.fits', 1).columns[name].format}")
assert back["i16"].tolist() == numbers
assert back["u8"].tolist() == [58, 3, 0, 1]
assert back["i8"].tolist() == [True, True, False, True]
fits.PrimaryHDU(np.array([numbers], np.int8)).writeto("i.fits")
print("image of int8: read", fits.getdata("i.fits").tolist())
assert fits.getdata("i.fits").tolist() == [numbers]
PY
