"""The same command started twice by mistake, at once or one a little later: the second waits, or says so."""

import shutil
import time
from dataclasses import replace

from faults import victims
from faults.prepared import Prepared
from faults.trials import Tally

TIMES = 10
SAID = (
    "another process",
    "is being written by",
    "is there already",
    "done already",
    "finished or removed it meanwhile",
)


def twins(prepared: Prepared) -> Tally:
    """Pairs of one scene, from the same moment to most of a run apart."""
    tally, begin = Tally(prepared.scene.name, "one result; the second waits or says so"), time.monotonic()
    for number in range(TIMES):
        tally.count("two at once", _pair(prepared, 0.8 * prepared.seconds * number / TIMES))
    tally.seconds = time.monotonic() - begin
    return tally


def _pair(prepared: Prepared, delay: float) -> str | None:
    folder, scene = prepared.fresh(), prepared.scene
    alone = scene.command(folder, 0)
    both = replace(alone, ranks=[alone.ranks[0], alone.ranks[0] | {"FAULTS_DELAY": str(delay)}], together=False)
    ended = victims.run(both)
    fault = scene.half(folder, prepared.truth)
    if not set(ended.statuses) <= {0, 2} or "Traceback" in ended.said or ended.statuses == (2, 2):
        fault = fault or f"they ended with {ended.statuses}: {ended.said[-500:]}"
    if any(ended.statuses) and not any(words in ended.said for words in SAID):
        fault = fault or f"the second did not say why: {ended.said[-500:]}"
    names = [name for name, value in prepared.truth.items() if scene.prints(folder).get(name) != value]
    if fault or names:
        return f"{delay:.2f} s apart: {fault or f'another result: {names}'} [{folder}]"
    shutil.rmtree(folder)
    return None
