"""The verb submit: the beginning of an experiment, and its going on."""

import os
import sys
import time
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from hpc_astrossl.cli import add_verb
from hpc_astrossl.cli.follow import SHOWN, WORKDIR
from hpc_astrossl.cli.plan import expand, look_for_leaks, tell_skipped, tell_standing
from hpc_astrossl.cli.screen import Line, accuracy, at
from hpc_astrossl.errors import EXIT_FAULT, EXIT_INPUT


def add(verbs) -> None:
    """Add this module's verb."""
    submit = add_verb(
        verbs, "submit", about="run what is neither done nor queued of an experiment", handler=_submit,
        example="astrossl submit jobs/demo.yaml --cluster local",
    )  # fmt: skip
    submit.add_argument("jobs", metavar="JOBS.yaml", help="the experiment's recipe")
    submit.add_argument(
        "--cluster", metavar="C", required=True, help="a name in jobs/clusters, or the path of a YAML file"
    )
    submit.add_argument(
        "--remake", action="store_true", help="make again what is out of date; the old results are set aside"
    )
    submit.add_argument("--dry-run", action="store_true", help="print what would be sent; write and send nothing")
    submit.add_argument("--workdir", metavar="DIR", type=Path, default=Path(), help=WORKDIR)


def _submit(arguments: Namespace) -> int | None:
    from hpc_astrossl.launch import compared, current, exposure, prepare, queue, shell
    from hpc_astrossl.launch.ledger import Ledger
    from hpc_astrossl.launch.state import Lives, pending

    jobs, cluster, plan = expand(arguments)
    workdir = arguments.workdir.absolute()
    if cluster.kind == "slurm":
        cluster, told = shell.taken_up(cluster, os.environ)
        print("\n".join(told), end="\n" if told else "", file=sys.stderr)
    found = _standing(arguments, plan, jobs, workdir)
    looked_at = look_for_leaks(plan, found, workdir)
    if not arguments.dry_run:
        queue.check_site(plan, cluster)
    tell_skipped(plan.skipped)
    ledger = Ledger(workdir, plan.experiment)
    if arguments.dry_run:
        alive = Lives(ledger.entries()).by_item()
        _dry_run(plan, pending(plan, found.done, alive), alive, cluster, ledger, workdir)
        return None
    with ledger.locked():
        compared.Compared(ledger).note(looked_at)
        if cluster.kind == "slurm":
            _settle(ledger)
        lives = Lives(ledger.entries())
        found = _standing(arguments, plan, jobs, workdir)
        done = found.done
        elsewhere = lives.ask_elsewhere(ledger, done)
        alive = {key: entry for key, entry in lives.by_item().items() if key not in done}
        todo = pending(plan, done, alive)
        for moved in current.set_aside(plan.items, found, workdir, time.strftime("%Y%m%d-%H%M%S", time.gmtime())):
            print(f"set aside  {moved}")
        prepare.write_experiment(plan, Path(arguments.jobs).stem, workdir)
        wanted = sum(len(items) for items in todo.values())
        print(f"{plan.experiment}: {len(done)} done, {len(alive)} queued or running, {wanted} to submit")
        unsure = sum(lives.phase(entry) == "unknown" for entry in alive.values())
        if unsure:
            print(f"  of {unsure} of these Slurm does not say whether they live: they are not sent again", flush=True)
        unknown = _tell_elsewhere(plan.experiment, elsewhere, arguments.workdir)
        if not wanted:
            return EXIT_INPUT if unknown else None
        for warning in exposure.exposed(ledger.folder):
            print(warning, file=sys.stderr)
        if cluster.kind == "slurm":
            _send(plan, todo, alive, cluster, ledger, workdir)
            return None
        from hpc_astrossl.launch.local import Foreground

        foreground = Foreground(plan, cluster=cluster, ledger=ledger, workdir=workdir)
        foreground.claim(todo)
    return _watch(foreground, set(alive))


def _settle(ledger) -> None:
    """Take up what earlier submissions left open; InputError for jobs from here that no ledger knows.

    Second copies of arrays, which do nothing, are named and are in nobody's way.
    """
    from hpc_astrossl.errors import InputError
    from hpc_astrossl.launch import queue
    from hpc_astrossl.launch.notes import Notes, copies, orphans
    from hpc_astrossl.launch.sending import Sending

    notes = Notes(ledger).all()
    if not notes and not ledger.entries(cancelled=True):
        return  # nothing was ever sent
    if due := max((note.due() for note in notes), default=0):
        print(f"looking for an array of which sbatch said nothing clear, for at most {due:.0f} s", flush=True)
    listing = queue.states()
    Sending(ledger).settle(listing)
    second = copies(ledger, listing)
    for job, first in second.items():
        print(
            f"job {job} is a second copy of {first}, as of a wrapper that repeats sbatch; it does nothing, which takes "
            f"each of its tasks a minute; scancel {job} ends it",
            file=sys.stderr,
        )
    if lost := {job: name for job, name in orphans(ledger, listing).items() if job not in second}:
        told = ", ".join(f"{job} ({name})" for job, name in lost.items())
        raise InputError(
            f"Slurm has jobs of this experiment that its ledger does not know: {told}, never noted or cancelled. "
            f"astrossl cancel {ledger.experiment} ends them with the rest; or wait for their end. Then submit again"
        )


def _standing(arguments: Namespace, plan, jobs, workdir: Path):
    """What is done from what lies there now; InputError when something is out of date and not to be made again."""
    from hpc_astrossl.launch import current, prepare

    found = current.standing(plan.items, plan.experiment, workdir)
    prepare.validate(plan, jobs, workdir, found.outdated if arguments.remake else ())
    if found.outdated and not arguments.remake:
        raise current.refusal(found, plan.experiment)
    if found.unmarked or (found.outdated and arguments.dry_run):
        tell_standing(found)
    return found


def _tell_elsewhere(experiment: str, entries: Sequence, workdir: Path) -> bool:
    """Say which machines' processes hold items, and what frees those of one that is gone; whether that is unknown."""
    unknown = [entry for entry in entries if entry.machine is None]
    hosts = sorted({entry.host for entry in entries})
    if hosts:
        verb = "holds" if len(hosts) == 1 else "hold"
        print(f"of these, {', '.join(hosts)} {verb} some, and cannot be seen from here; if that machine is gone, free "
              f"them with: astrossl cancel {experiment}{at(workdir)}, then submit again", file=sys.stderr)  # fmt: skip
    return bool(unknown)


def _send(plan, todo, alive, cluster, ledger, workdir: Path) -> None:
    from hpc_astrossl.launch import slurm

    for sent in slurm.submit(plan, todo, alive, cluster=cluster, ledger=ledger, workdir=workdir):
        first = sent.jobs[0].partition("_")[0]
        print(f"  {sent.stage}: job {first}, {len(sent.works)} tasks{', ' + sent.after if sent.after else ''}")
    print(f"Follow with: astrossl status {plan.experiment}{at(workdir)}")


def _dry_run(plan, todo, alive, cluster, ledger, workdir: Path) -> None:
    import shlex

    if cluster.kind == "slurm":
        from hpc_astrossl.launch import slurm

        sent = slurm.submit(plan, todo, alive, cluster=cluster, ledger=ledger, workdir=workdir, dry_run=True)
        for array in sent:
            print(f"# ---- {array.stage}: {len(array.works)} tasks, sent with sbatch\n{array.script}")
            for number, work in enumerate(array.works):
                print("\n".join(f"#  {number}: astrossl {shlex.join(command)}" for command in work.commands))
            print()
        return
    from hpc_astrossl.launch.plan import pack

    print(f"cd {shlex.quote(str(workdir))}")
    for stage in plan.stages:
        for work in pack(stage, todo[stage.name]):
            print("\n".join(f"astrossl {shlex.join(command)}" for command in work.commands))


def _watch(foreground, busy: set[str]) -> int | None:
    """Run in the foreground with a line of progress; EXIT_FAULT when anything failed."""
    import signal

    from hpc_astrossl.errors import Interrupted

    began, line = time.monotonic(), Line()
    results = {item.key: foreground.workdir / item.produces
               for stage in foreground.stages.values() for item in stage.items if item.trains}  # fmt: skip

    def tell(work, news: Sequence[str]) -> None:
        for key in news:
            worth = accuracy(results[key]) if key in results else ""
            line.say(f"done  {key}{worth}" if work.tally.ended[key] is None else f"FAILED  {key}")
        left = sum(len(task.items) for task in work.waiting)
        stages = ", ".join(dict.fromkeys(run.work.stage for run in work.running))
        line.show(
            f"{len(work.tally.ended)} ended, {len(work.running)} running ({stages}), {left} waiting, "
            f"{(time.monotonic() - began) / 60:.1f} min"
        )

    def stop(number, _frame):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    # A script's background jobs are born deaf to interrupts, and so would be the tasks, which cancel interrupts.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        tally = foreground.run(busy, tell)
    except KeyboardInterrupt:
        line.clear()
        raise Interrupted("stopped, and what ran was told to save; run the same command again to go on") from None
    finally:
        signal.signal(signal.SIGTERM, before)
    line.clear()
    print(f"{len(tally.ended) - len(tally.failed)} made, {len(tally.failed)} failed")
    for key, reason in list(tally.failed.items())[:SHOWN]:
        print(f"  {key}: {reason}")
    if tally.failed:
        print(f"logs: {foreground.ledger.logs}")
    return EXIT_FAULT if tally.failed else None
