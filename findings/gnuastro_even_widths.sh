#!/usr/bin/env bash
# astcrop --mode=img --width=10,10 gives 11 x 11 pixels: around a whole pixel any even width becomes the next odd one, without a
# word. Needs Gnuastro 0.19 (Debian 12: gnuastro).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/debs" && cd "$work/debs"
apt-get --simulate --no-install-recommends install gnuastro=0.19-1+b2 > plan.txt  # Debian 12; what is not installed is unpacked here alone
sed -nE 's/^Inst ([^ ]+) (\[[^]]*\] )?\(([^ ]+) .*/\1=\3/p' plan.txt | xargs -r apt-get --quiet=2 download
for deb in *.deb; do [ ! -e "$deb" ] || dpkg -x "$deb" "$work/debian"; done
[ ! -d "$work/debian/etc" ] || ln -s "$work/debian/etc" "$work/.gnuastro"  # its defaults are looked for here, too
export PATH="$work/debian/usr/bin:$PATH" LD_LIBRARY_PATH="$work/debian/usr/lib/x86_64-linux-gnu"
astcrop --version | head -1 | grep --fixed-strings '0.19'  # of gnuastro=0.19-1+b2, pinned above
python3 -m venv "$work/venv"  # astropy says how large the cutouts are
"$work/venv/bin/pip" --quiet --disable-pip-version-check install astropy==7.1.0 numpy==2.2.6 2> "$work/pip.log" || { cat "$work/pip.log"; exit 1; }
cd "$work"
astarithmetic 100 100 2 makenew float32 --output=field.fits --quiet
for width in 9 10 11 64; do
    astcrop field.fits --hdu=1 --mode=img --center=50,50 --width=$width,$width --output=cut$width.fits > said.txt 2>&1
    got=$("$work/venv/bin/python" -c "from astropy.io import fits; print(*fits.getdata('cut$width.fits', 1).shape)")
    echo "asked for $width, got $got; warnings: $(grep -ci warning said.txt || true)"
    odd=$((width / 2 * 2 + 1))
    test "$got" = "$odd $odd"
    test "$(grep -ciE 'warning|odd|even' said.txt || true)" = 0
done
