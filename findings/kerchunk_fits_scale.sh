#!/usr/bin/env bash
# kerchunk's references to a FITS image with BSCALE or BZERO (any uint16 image has one): zarr refuses to read them, since the
# array is named int16 and its filter gives float64. And numcodecs' filter divides by its scale where FITS multiplies by BSCALE.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" --quiet --disable-pip-version-check install kerchunk==0.2.10 zarr==3.1.6 numcodecs==0.16.6 fsspec==2026.9.0 astropy==7.1.0 numpy==2.2.6 2> "$work/pip.log" || { cat "$work/pip.log"; exit 1; }
cd "$work" && venv/bin/python - <<'PY'
import json
import warnings

import kerchunk
import numcodecs
import numpy as np
import zarr
from astropy.io import fits
from kerchunk.fits import process_file

print("kerchunk", kerchunk.__version__, "zarr", zarr.__version__, "numcodecs", numcodecs.__version__)
warnings.simplefilter("ignore")
stored = np.arange(100, dtype=np.int16).reshape(10, 10)
scaled = fits.PrimaryHDU(stored)
scaled.header["BSCALE"], scaled.header["BZERO"] = 0.5, 10.0
scaled.writeto("scaled.fits")
fits.PrimaryHDU(stored.astype(np.uint16)).writeto("unsigned.fits")
fits.PrimaryHDU(stored.astype(np.float32)).writeto("plain.fits")


def read(name):
    references = process_file(name)
    group = zarr.open_group("reference://", mode="r", zarr_format=2, storage_options={"fo": references, "remote_protocol": "file"})
    return references, group["PRIMARY"]


assert (read("plain.fits")[1][:] == stored).all()
for name in ("unsigned.fits", "scaled.fits"):
    references, array = read(name)
    try:
        array[:]
    except ValueError as error:
        print(f"{name}: {array.dtype}, {error}")
    else:
        raise AssertionError(f"{name} can be read")
filter_of_it = numcodecs.get_codec(json.loads(references["PRIMARY/.zarray"])["filters"][0])
value, right = filter_of_it.decode(stored.astype(">i2"))[7], fits.getdata("scaled.fits")[0, 7]
print(f"its filter makes {value} of the stored 7; by the standard it is {right}")
assert right == 7 * 0.5 + 10
assert value == 7 / 0.5 + 10
PY
