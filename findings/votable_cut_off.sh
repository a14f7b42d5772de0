#!/usr/bin/env bash
# A TAP server that stops at its limit of rows says so after the table (INFO QUERY_STATUS, OVERFLOW). astropy's Table.read gives
# the rows without a word, with verify="exception" too, and does not keep the INFO. Only pyvo's check, or the parsed tree, tells.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" --quiet --disable-pip-version-check install astropy==7.1.0 pyvo==1.9.1 numpy==2.2.6 2> "$work/pip.log" || { cat "$work/pip.log"; exit 1; }
cd "$work" && cat > result.xml <<'XML'
<?xml version="1.0"?>
<VOTABLE version="1.3" xmlns="http://www.ivoa.net/xml/VOTable/v1.3"><RESOURCE type="results">
<INFO name="QUERY_STATUS" value="OK"/>
<TABLE><FIELD name="id" datatype="long"/><DATA><TABLEDATA><TR><TD>1</TD></TR><TR><TD>2</TD></TR></TABLEDATA></DATA></TABLE>
<INFO name="QUERY_STATUS" value="OVERFLOW"/>
</RESOURCE></VOTABLE>
XML
venv/bin/python - <<'PY'
import warnings

import astropy
import pyvo
from astropy.io.votable import parse
from astropy.table import Table
from pyvo.dal.tap import TAPResults

print("astropy", astropy.__version__, "pyvo", pyvo.__version__)
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    table = Table.read("result.xml", format="votable", verify="exception")
print(f"astropy: {len(table)} rows, {len(said)} warnings, meta {dict(table.meta)}")
assert len(table) == 2
assert not said
assert "OVERFLOW" not in repr(table.meta)
tree = parse("result.xml", verify="exception")
told = [info.value for resource in tree.resources for info in resource.infos]
print("in the tree:", told)
assert told == ["OK", "OVERFLOW"]
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    TAPResults(tree).check_overflow_warning()
print("pyvo:", [type(one.message).__name__ for one in said])
assert len(said) == 1
PY
