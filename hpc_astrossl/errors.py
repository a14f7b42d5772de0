"""The errors that a user sees, and the wording they share."""

import difflib
from collections.abc import Iterable


class InputError(Exception):
    """The user's input is wrong: the command line prints the message alone and exits with status 2.

    The message names the file or key, the value found, what is allowed, and what to do.
    """


class StoreChanged(InputError):
    """A store was replaced or changed while it was read: never damage that may be left out."""


class Interrupted(BaseException):
    """The run was asked to stop and has saved its state: exit status 75, "to be continued".

    Like KeyboardInterrupt it may come anywhere, and whoever looks for faults, in a library or here, must let it pass.
    """


class TrainingError(Exception):
    """Training cannot go on, and neither the input nor a signal is to blame: the message alone, exit status 1."""


class PeerLost(TrainingError):
    """Another rank has ended, and its own end is the cause: exit status 69, after which starting again may help."""


EXIT_DONE, EXIT_FAULT, EXIT_INPUT, EXIT_PEER, EXIT_CONTINUE = 0, 1, 2, 69, 75

_LISTED = 40


def unknown(kind: str, value: object, allowed: Iterable[str]) -> InputError:
    """An InputError for a name that is not in a table: the value, the nearest of the allowed names, and all of them.

    Of very many names the nearest alone, where there is one: a list of a page hides it.
    """
    names = sorted(allowed)
    near = difflib.get_close_matches(str(value), names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    if near and len(names) > _LISTED:
        return InputError(f"unknown {kind} {value!r}{hint}")
    return InputError(f"unknown {kind} {value!r}; allowed: {', '.join(names)}{hint}")
