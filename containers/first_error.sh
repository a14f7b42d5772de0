#!/usr/bin/env bash
# The first error in the log of a build, with the lines around it: first_error.sh LOG
# A compiler's comes before CMake's and the linker's, and theirs before the last words of whoever called them.
set -uo pipefail

plain=$(mktemp)
trap 'rm -f "$plain"' EXIT
sed 's/\x1b\[[0-9;]*[mK]//g' "${1:?usage: first_error.sh LOG}" > "$plain"  # without colours
log=$plain
for pattern in '(^|[^[:alnum:]_])(fatal )?error( C?[0-9]+)?: ' 'CMake Error|undefined reference to|collect2: ' \
    'Killed|No space left on device|make(\[[0-9]+\])?: \*\*\*' '(^|[[:space:]])[A-Za-z]*Error:'; do
    line=$(grep -n -m 1 -E "$pattern" "$log" | cut -d : -f 1)
    if [ -n "$line" ]; then
        sed -n "$((line > 3 ? line - 3 : 1)),$((line + 4))p" "$log"
        exit 0
    fi
done
tail -n 20 "$log"
