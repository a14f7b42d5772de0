"""``make faults``: kill, fill and collide, then count what was lost.

    python tests/faults/run.py                    # everything, some tens of minutes on two cores
    python tests/faults/run.py preprocess embed   # scenes whose names begin so; --kills 8 for a quick look
    python tests/faults/run.py --list

Prints a table and writes benchmarks/results/faults.json, where scenes that were not run keep their last record.
Exit status 1 when anything was lost. The seed decides every point.
"""

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(1, str(Path(__file__).resolve().parents[2]))
from faults import applying, disks, nolocks, preprocessing, record, silences, submitting, training, twins, victims
from faults.prepared import Prepared
from faults.trials import Plan, Trials

PARTS = ("kills", "disks", "twins", "silences", "nolocks")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scenes", nargs="*", metavar="SCENE", help="beginnings of names; none: all")
    parser.add_argument("--kills", type=int, default=50, help="SIGKILLs a scene, chains and whole commands apart")
    parser.add_argument(
        "--ends", type=int, default=10, help="SIGKILLs at the last changes of files; 1000: at every one"
    )
    parser.add_argument("--signals", type=int, default=10, help="of SIGTERM, and of SIGUSR2")
    parser.add_argument("--seconds", type=float, default=silences.SECONDS, help="as long rounds on a Slurm begin")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", choices=PARTS, help="may be repeated")
    parser.add_argument("--dry", action="store_true", help="leave the record alone")
    parser.add_argument("--list", action="store_true", help="the names of the scenes")
    arguments = parser.parse_args()
    victims.warm_up()
    known = [*preprocessing.scenes(), *training.scenes(), *applying.scenes(), *submitting.scenes()]
    named = [scene for scene in known if scene.name in arguments.scenes]
    begins = tuple(set(arguments.scenes) - {scene.name for scene in named})
    chosen = [
        scene for scene in known if scene in named or not arguments.scenes or (begins and scene.name.startswith(begins))
    ]
    wanted = not arguments.scenes or silences.NAME.startswith(tuple(arguments.scenes))
    slurm = wanted and silences.there() and "silences" in (arguments.only or PARTS)
    if arguments.list:
        print("\n".join([*(scene.name for scene in known), silences.NAME, nolocks.NAME]))
        return 0
    # In memory where there is some: a process that is killed loses nothing it has written, synced or not.
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    work = Path(tempfile.mkdtemp(prefix="faults-", dir=memory))
    plan = Plan(kills=arguments.kills, ends=arguments.ends, signals=arguments.signals, seed=arguments.seed)
    faults = {"kills": lambda prepared: Trials(prepared, plan).run(), "disks": disks.disks, "twins": twins.twins}
    lost = 0
    for number, scene in enumerate(chosen):
        prepared, tallies = Prepared(scene, work / str(number)), {}
        for name in arguments.only or faults:
            if name in faults and name in scene.faults and (name == "kills" or scene.alone):
                tallies[name] = tally = faults[name](prepared)
                print("\n".join([record.row(tally), *(f"  LOST {words}" for words in tally.lost)]), flush=True)
        lost += sum(len(tally.lost) for tally in tallies.values())
        # Not before the scene is over: results name the commit they were made by, and whether the checkout differs.
        for name, tally in tallies.items():
            if not arguments.dry:
                record.add(name, tally)
    if slurm:
        tally = silences.run(work / "slurm", seed=arguments.seed, seconds=arguments.seconds)
        print("\n".join([record.row(tally), *(f"  LOST {words}" for words in tally.lost)]), flush=True)
        lost += len(tally.lost)
        if not arguments.dry:
            record.add("silences", tally)
    without = not arguments.scenes or nolocks.NAME.startswith(tuple(arguments.scenes))
    if without and "nolocks" in (arguments.only or PARTS):
        tally = nolocks.run(work / "nolocks")
        print("\n".join([record.row(tally), *(f"  LOST {words}" for words in tally.lost)]), flush=True)
        lost += len(tally.lost)
        if not arguments.dry:
            record.add("nolocks", tally)
    if not lost:
        shutil.rmtree(work)
    print(record.tables())
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
