#!/usr/bin/env bash
# astcrop --mode=img --width=10,10 gives 11 x 11 pixels: around a whole pixel any even width becomes the next odd one, without a
# word. Needs Gnuastro 0.19 (Debian 12: gnuastro).
set -euo pipefail
command -v astcrop > /dev/null || { echo "astcrop is not installed: apt-get install gnuastro"; exit 1; }
astcrop --version | head -1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
astarithmetic 100 100 2 makenew float32 --output=field.fits --quiet
for width in 9 10 11 64; do
    astcrop field.fits --hdu=1 --mode=img --center=50,50 --width=$width,$width --output=cut$width.fits > said.txt 2>&1
    got=$(astfits cut$width.fits --hdu=1 --keyvalue=NAXIS1,NAXIS2 --quiet | xargs)
    echo "asked for $width, got $got; warnings: $(grep -ci warning said.txt || true)"
    odd=$((width / 2 * 2 + 1))
    test "$got" = "$odd $odd"
    test "$(grep -ciE 'warning|odd|even' said.txt || true)" = 0
done
