"""The command ``astrossl``: one module a group of verbs; each handler imports its own world inside.

Exit status: 0 done, 2 the input is wrong (one message, no traceback), 75 interrupted and to be continued,
1 a fault of ours.
"""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from hpc_astrossl import __version__
from hpc_astrossl.errors import (
    EXIT_CONTINUE,
    EXIT_DONE,
    EXIT_FAULT,
    EXIT_INPUT,
    EXIT_PEER,
    InputError,
    Interrupted,
    PeerLost,
    TrainingError,
)

MODULES = (
    "doctor",
    "demo",
    "simulate",
    "survey",
    "train",
    "model",
    "apply",
    "explore",
    "classify",
    "labels",
    "jobs",
    "follow",
    "report",
    "help",
    "new",
    "completion",
)


def parser() -> argparse.ArgumentParser:
    """The whole command line; building it imports nothing heavy."""
    top = argparse.ArgumentParser(
        prog="astrossl",
        description="From a survey release on disk to the paper's tables: preprocess, train, report.",
        epilog="Begin with: astrossl doctor, then astrossl demo. Every verb has --help with an example; "
        "astrossl help explains the keys of recipes.",
    )
    top.add_argument("--version", action="version", version=f"astrossl {__version__}")
    verbs = top.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name in MODULES:
        importlib.import_module(f"{__name__}.{name}").add(verbs)
    return top


def add_verb(verbs, name: str, *, about: str, example: str, handler) -> argparse.ArgumentParser:
    """Add a verb whose ``--help`` says what it does and shows an example; ``handler(arguments)`` runs it."""
    verb = verbs.add_parser(
        name,
        help=about,
        description=about[0].upper() + about[1:] + ".",
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verb.set_defaults(handler=handler)
    return verb


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status. A handler returns None or a status of its own."""
    arguments = parser().parse_args(argv)
    try:
        return arguments.handler(arguments) or EXIT_DONE
    except InputError as error:
        print(f"astrossl {arguments.verb}: {error}", file=sys.stderr)
        return EXIT_INPUT
    except Interrupted as stop:
        print(f"astrossl {arguments.verb}: {stop}", file=sys.stderr)
        return EXIT_CONTINUE
    except TrainingError as error:
        print(f"astrossl {arguments.verb}: {error}", file=sys.stderr)
        return EXIT_PEER if isinstance(error, PeerLost) else EXIT_FAULT
    except BrokenPipeError:  # the reader of our output (head, say) has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_DONE
