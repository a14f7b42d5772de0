"""The verb ``demo``: the commands a survey team would type, run one after the other on small input.

It has no code of its own for any stage. The recipes and the bundled galaxies are copied into the folder, so that
everything shown can be read, changed and run again from there.
"""

import shlex
import shutil
from pathlib import Path

from hpc_astrossl import cli
from hpc_astrossl.errors import InputError
from hpc_astrossl.launch.plan import report_page

CHECKOUT = Path(__file__).resolve().parent.parent.parent
BUNDLED = ("preprocess", "jobs", "examples/efigi")
SURVEY = ("--fields", "4", "--objects", "700", "--size", "1600")


def add(verbs) -> None:
    """Add the verb ``demo``."""
    verb = cli.add_verb(
        verbs,
        "demo",
        about="run the whole chain on a simulated survey and real galaxies; ends with the report's path",
        example="astrossl demo --out demo",
        handler=_demo,
    )
    verb.add_argument("--out", default="demo", type=Path, help="folder for everything it makes (default: demo)")
    verb.add_argument("--seed", default=0, type=int, help="seed of the simulated survey (default: 0)")
    verb.add_argument("--cluster", default="local", help="where to run (default: local, this machine)")


def commands(out: Path, seed: int, cluster: str) -> list[list[str]]:
    """The command lines of the demo, in order."""
    return [
        ["simulate", str(out / "survey"), *SURVEY, "--seed", str(seed)],
        ["submit", str(out / "jobs/demo.yaml"), "--cluster", cluster, "--workdir", str(out)],
    ]


def _demo(arguments) -> int:
    out = arguments.out
    _lay_out(out)
    for argv in commands(out, arguments.seed, arguments.cluster):
        print(f"\n$ astrossl {shlex.join(argv)}", flush=True)
        status = cli.main(argv)
        if status:
            return status
    page = out / report_page("demo")
    if page.exists():
        print(f"\nThe report: {page.absolute()}")
    else:  # a scheduler has it all in its queue
        where = shlex.quote(str(out))
        print(f"\nSubmitted; the report will be {page.absolute()}; see astrossl status demo --workdir {where}")
    return 0


def _lay_out(out: Path) -> None:
    missing = [name for name in BUNDLED if not (CHECKOUT / name).is_dir()]
    if missing:
        raise InputError(
            f"{CHECKOUT}: no folder {', '.join(missing)} here; the demo runs from a checkout of the project "
            "(git clone, then make demo)"
        )
    for name in BUNDLED:
        shutil.copytree(CHECKOUT / name, out / name, dirs_exist_ok=True)
