"""``astrossl help``: what the keys of recipes, jobs, clusters and runs mean."""

from argparse import Namespace

KINDS = ("recipe", "jobs", "cluster", "run")


def add(verbs) -> None:
    """Add the verb."""
    from hpc_astrossl.cli import add_verb

    verb = add_verb(
        verbs,
        "help",
        about="explain the keys of a recipe, a jobs recipe, a cluster or a run",
        example="astrossl help recipe catalogue.magnitude",
        handler=tell,
    )
    verb.add_argument("kind", metavar="|".join(KINDS), choices=KINDS)
    verb.add_argument("key", metavar="KEY", nargs="?", help="a key, such as split.train; default: all keys")


def tell(arguments: Namespace) -> None:
    """Print the keys asked for."""
    from hpc_astrossl.specs import reference

    found = reference.find(arguments.kind, arguments.key) if arguments.key else reference.keys(arguments.kind)
    print(reference.told(found))
