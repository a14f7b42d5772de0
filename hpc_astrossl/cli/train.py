"""``astrossl train``: one run, pretext or downstream."""

from argparse import Namespace
from pathlib import Path


def add(verbs) -> None:
    """Add the verb."""
    from hpc_astrossl.cli import add_verb

    verb = add_verb(
        verbs,
        "train",
        about="train one run, or go on with it",
        example="astrossl train RUN.yaml --set data.train_size=100 --set seed=3",
        handler=train,
    )
    verb.add_argument(
        "run", metavar="RUN.yaml", type=Path, help="the run's configuration, or a run folder's config.yaml"
    )
    verb.add_argument(
        "--set", metavar="KEY=VALUE", action="append", default=[], help="change one key, a.b=value; may be repeated"
    )
    verb.add_argument(
        "--workdir", metavar="DIR", type=Path, default=Path(), help="where stores and runs lie (default: here)"
    )


def train(arguments: Namespace) -> None:
    """Train the run that a YAML file and ``--set`` describe; its folder is told in the last line."""
    from hpc_astrossl import config, names
    from hpc_astrossl.specs.run import RunSpec

    data = config.merge(config.read_yaml(arguments.run), config.settings(arguments.set))
    run = names.resolved(config.parse(data, RunSpec, str(arguments.run)))
    from hpc_astrossl.training.run import train  # torch, DALI: after the configuration has been read

    train(run, arguments.workdir)
