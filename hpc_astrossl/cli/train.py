"""``astrossl train``: one run, or several; those that differ in seed and training size only are trained together."""

import sys
from argparse import Namespace
from pathlib import Path


def add(verbs) -> None:
    """Add the verb."""
    from hpc_astrossl.cli import add_verb

    verb = add_verb(
        verbs,
        "train",
        about="train one run or several, or go on with them",
        example="astrossl train RUN.yaml --set data.train_size=100 --set seed=3",
        handler=train,
    )
    verb.add_argument(
        "run", metavar="RUN.yaml", type=Path, nargs="+", help="a run's configuration, or a run folder's config.yaml"
    )
    verb.add_argument(
        "--set", metavar="KEY=VALUE", action="append", default=[], help="change one key, a.b=value; may be repeated"
    )
    verb.add_argument(
        "--workdir", metavar="DIR", type=Path, default=Path(), help="where stores and runs lie (default: here)"
    )


def _hold(path: Path) -> None:
    """InputError when it is the ``config.yaml`` of a finished run, and was edited since."""
    from hpc_astrossl.training.folder import RunFolder

    folder = RunFolder(path.parent)
    if path.name == "config.yaml" and (result := folder.result()) is not None and "run_id" in result:
        folder.spec(result)


def train(arguments: Namespace) -> None:
    """Train the runs that YAML files and ``--set`` describe; their folders are told in the last lines.

    Runs that fail do not keep the others from being trained; the first error is raised at the end.
    """
    from hpc_astrossl import config, names
    from hpc_astrossl.errors import InputError, TrainingError
    from hpc_astrossl.launch import foresight
    from hpc_astrossl.specs.heads import groups
    from hpc_astrossl.specs.run import RunSpec

    data = {path: config.apply_settings(config.read_yaml(path), arguments.set) for path in arguments.run}
    read = [config.parse(one, RunSpec, str(path)) for path, one in data.items()]
    runs = [names.resolved(run, floats=foresight.floats(run, arguments.workdir)) for run in read]
    for path in arguments.run:
        _hold(path)
    unlike = {run.run_id: run for run in runs}
    from hpc_astrossl.engines import choose
    from hpc_astrossl.training.run import train  # torch, DALI: after the configurations have been read
    from hpc_astrossl.training.together import train_together

    failed: Exception | None = None
    alone = choose()[0] == "single"  # several ranks train one run after the other
    for group in groups(unlike.values()) if alone else ([run] for run in unlike.values()):
        try:
            if len(group) > 1:
                train_together(group, arguments.workdir)
            else:
                train(group[0], arguments.workdir)
        except (InputError, TrainingError) as error:
            if len(unlike) == 1:
                raise
            print(f"astrossl train: {', '.join(run.run_id for run in group)}: {error}", file=sys.stderr)
            failed = failed or error
    if failed:
        raise failed
