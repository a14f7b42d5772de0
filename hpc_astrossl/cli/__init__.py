"""The command ``astrossl``: one module a group of verbs; each handler imports its own world inside.

Exit status: 0 done, 2 the input is wrong (one message, no traceback), 75 interrupted and to be continued,
1 a fault of ours.
"""

import argparse
import contextlib
import errno
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
from hpc_astrossl.terminal import guarded

MODULES = {  # and the verbs of each, in the order of --help
    "doctor": ("doctor",),
    "demo": ("demo",),
    "simulate": ("simulate",),
    "survey": ("preprocess", "info", "check", "cutout"),
    "train": ("train",),
    "model": ("weights",),
    "apply": ("predict", "embed"),
    "explore": ("explore",),
    "classify": ("classify",),
    "labels": ("labels",),
    "plan": ("plan",),
    "submit": ("submit",),
    "follow": ("status", "logs", "cancel"),
    "report": ("report",),
    "help": ("help",),
    "new": ("new",),
    "completion": ("completion",),
}

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
WORKS = ("preprocess", "train", "submit", "embed", "predict", "explore", "classify", "report", "demo", "simulate")


class Parser(argparse.ArgumentParser):
    """One without colours, which Python 3.14 would send a terminal as sequences that are not let through."""

    color = property(lambda self: False, lambda self, value: None)


def parser(verb: str | None = None) -> argparse.ArgumentParser:
    """The command line, whole, or of one verb's module when that is asked for; building it imports nothing heavy."""
    top = Parser(
        prog="astrossl",
        description="From a survey release on disk to the paper's tables: preprocess, train, report.",
        epilog="Begin with: astrossl doctor, then astrossl demo; with pictures of your own: astrossl new recipe "
        "folders --source PICTURES (docs/first-hour.md). Every verb has --help with an example; astrossl help explains "
        "the keys of recipes.",
    )
    top.add_argument("--version", action="version", version=f"astrossl {__version__}")
    verbs = top.add_subparsers(dest="verb", metavar="VERB", required=True)
    asked = [name for name, theirs in MODULES.items() if verb in theirs]
    for name in asked or MODULES:
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
    _mend_streams()
    with guarded():  # what verbs print may stand in files of others
        return _run(sys.argv[1:] if argv is None else argv)


def _run(words: Sequence[str]) -> int:
    arguments = parser(words[0] if words else None).parse_args(words)
    try:
        status = arguments.handler(arguments) or EXIT_DONE
        sys.stdout.flush()  # here, where a disk that is full can still be told of
        return status
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
        _close_output()
        if arguments.verb in WORKS:
            print(f"astrossl {arguments.verb}: stopped, for its output is no longer read; run the same command again "
                  "to go on", file=sys.stderr)  # fmt: skip
            return EXIT_CONTINUE
        return EXIT_DONE
    except MemoryError as error:
        print(f"astrossl {arguments.verb}: there is not so much memory ({error})", file=sys.stderr)
        return EXIT_FAULT
    except OSError as error:
        if error.errno in FULL and error.filename is None:
            _close_output()
        place = f"{_shown(error.filename)}: " if error.filename is not None else ""
        print(f"astrossl {arguments.verb}: {place}{error.strerror or error}; {_remedy(error)}", file=sys.stderr)
        return EXIT_FAULT if error.errno in FULL else EXIT_INPUT


def _mend_streams() -> None:
    """Let every file name be printed, and nothing fail where standard output or error is closed."""
    for name in ("stdout", "stderr"):
        if (stream := getattr(sys, name)) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _close_output() -> None:
    """What is still to be printed goes nowhere: at the end of the process it would fail once more."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _shown(name: object) -> str:
    return os.fsdecode(name).encode(errors="surrogateescape").decode(errors="backslashreplace")


def _remedy(error: OSError) -> str:
    """What to do about an error of the file system."""
    if error.errno in FULL:
        return "make room, and run the same command again"
    if error.errno == errno.ENAMETOOLONG:
        return "give it a shorter name"
    return "look at the name, and at the rights of the folders above it"
