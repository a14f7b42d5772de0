#!/usr/bin/env bash
# STILTS reads an unsigned 64-bit column (TZERO = 2^63, as astropy and fitsio write uint64) as text: joined with the same ids as
# signed integers it finds no pair and says nothing, and it sorts 10 before 5. Needs STILTS 3.4 (Debian 12: stilts) and Java 17.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/debs" && cd "$work/debs"
apt-get --simulate --no-install-recommends install stilts=3.4.7-4 > plan.txt  # Debian 12; what is not installed is unpacked here alone
sed -nE 's/^Inst ([^ ]+) (\[[^]]*\] )?\(([^ ]+) .*/\1=\3/p' plan.txt | xargs -r apt-get --quiet=2 download
for deb in *.deb; do [ ! -e "$deb" ] || dpkg -x "$deb" "$work/debian"; done
stilts() { java -cp "$work/debian/usr/share/java/*:/usr/share/java/*" uk.ac.starlink.ttools.Stilts "$@"; }
stilts -version 2>&1 | grep "STILTS version" | xargs
python3 -m venv "$work/venv"
"$work/venv/bin/pip" --quiet --disable-pip-version-check install astropy==7.1.0 numpy==2.2.6 2> "$work/pip.log" || { cat "$work/pip.log"; exit 1; }
cd "$work" && venv/bin/python - <<'PY'
import numpy as np
from astropy.table import Table

for name, kind in (("unsigned", np.uint64), ("signed", np.int64), ("short", np.uint32)):
    ids = np.array([5, 10, 9, 100, 2**31], dtype=kind)
    Table({"id": ids, name: np.arange(5)}).write(f"{name}.fits")
PY
join() { stilts tmatch2 in1="$1.fits" in2="$2.fits" matcher=exact values1=id values2=id ofmt=csv 2> log.txt | tail -n +2 | wc -l; }
for name in unsigned signed short; do echo "$name: $(stilts tpipe in=$name.fits omode=meta | grep ' 1: id')"; done
echo "pairs of five: short and signed $(join short signed), unsigned and signed $(join unsigned signed), unsigned with itself $(join unsigned unsigned)"
echo "sorted: $(stilts tpipe in=unsigned.fits cmd='sort id' cmd='keepcols id' ofmt=csv | tail -n +2 | tr '\n' ' ')"
test "$(join short signed)" = 5
test "$(join unsigned unsigned)" = 5
test "$(join unsigned signed)" = 0
test "$(stilts tpipe in=unsigned.fits cmd='sort id' cmd='keepcols id' ofmt=csv | sed -n 2p)" = 10
