"""Folders that others could change: a job runs what lies in them, so whoever can write there acts as its user."""

import grp
import os
import pwd
import stat
from pathlib import Path


def exposed(folder: Path) -> list[str]:
    """Warnings for the folder and all above it, in words: those that another user can write to.

    A folder above counts too, since its owner can put another one in the place of what is below, unless its sticky bit
    forbids that, as in /tmp.
    """
    folder = folder.resolve()
    found = [(path, who) for path in (folder, *folder.parents) if path.is_dir() and (who := _writers(path, folder))]
    return [
        f"warning: {path} can be written to by {who}, and jobs run what is below it with your rights; "
        f"{'chmod go-w ' + str(path) if path.stat().st_uid == os.getuid() else 'work in a folder of your own'}"
        for path, who in found
    ]


def _writers(path: Path, folder: Path) -> str | None:
    """Who besides this user and root can replace what is in a folder; None for nobody."""
    facts = path.stat()
    if facts.st_uid not in (0, os.getuid()):
        return f"its owner, {_user(facts.st_uid)}"
    if path != folder and facts.st_mode & stat.S_ISVTX:
        return None
    if facts.st_mode & stat.S_IWOTH:
        return "everybody"
    if facts.st_mode & stat.S_IWGRP and not _own_group(facts.st_gid):
        return f"the group {_group(facts.st_gid)}"
    return None


def _own_group(number: int) -> bool:
    """Whether a group is root's, or one that its only member is named after."""
    return number == 0 or _group(number) == _user(os.getuid())


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _group(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)
