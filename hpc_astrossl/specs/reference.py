"""The reference of every key: made from the specs themselves, so that it cannot say what the program does not do."""

import ast
import dataclasses
import functools
import re
import sys
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from hpc_astrossl.errors import unknown
from hpc_astrossl.specs.ages import since
from hpc_astrossl.specs.cluster import ClusterSpec
from hpc_astrossl.specs.jobs import JobsSpec, Resources
from hpc_astrossl.specs.recipe import Recipe
from hpc_astrossl.specs.run import RunSpec
from hpc_astrossl.specs.words import WORDS

KINDS: dict[str, type] = {"recipe": Recipe, "jobs": JobsSpec, "cluster": ClusterSpec, "run": RunSpec}
TITLES = {
    "recipe": "Preprocessing recipes",
    "jobs": "Jobs recipes",
    "cluster": "Clusters",
    "run": "Runs, and the overrides of jobs recipes",
}
OPEN = {(JobsSpec, "resources"): Resources, (ClusterSpec, "resources"): Resources}  # checked apart from the spec


@dataclass(frozen=True, kw_only=True)
class Key:
    """A key by its path, with what it means, what it may be, its default (None: it must be given) and its age."""

    path: str
    words: str
    kind: str
    default: str | None
    since: str


def keys(kind: str) -> list[Key]:
    """Every key of a kind of file, in its order. InputError for another kind."""
    if kind not in KINDS:
        raise unknown("kind of file", kind, KINDS)
    return [replace(one, since=since(kind, one.path)) for one in _of(KINDS[kind], "")]


def find(kind: str, path: str) -> list[Key]:
    """The keys at a path or below it; names that a user chooses may stand in it. InputError for an unknown one."""
    every = keys(kind)
    wanted = path.split(".")
    found = [one for one in every if _fits(one.path.split("."), wanted)]
    if not found:  # a key by its last name alone
        found = [one for one in every if one.path.split(".")[-len(wanted) :] == wanted]
    if not found:
        raise unknown(f"key of a {kind}", path, [one.path for one in every])
    return found


def _fits(path: list[str], wanted: list[str]) -> bool:
    pairs = zip(path, wanted, strict=False)
    return len(path) >= len(wanted) and all(mine == theirs or mine.isupper() for mine, theirs in pairs)


def _of(cls: type, prefix: str) -> Iterator[Key]:
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        path = f"{prefix}{field.name}"
        yield Key(path=path, words=words(cls, field.name), kind=_kind(hints[field.name]), default=_default(field),
                  since="")  # fmt: skip
        below, between = _record(hints[field.name])
        if (cls, field.name) in OPEN:
            below, between = OPEN[cls, field.name], "STAGE."
        if below is not None:
            yield from _of(below, f"{path}.{between}")


def _record(hint: Any) -> tuple[type | None, str]:
    """(the record that a key holds, what stands between the two in a path)."""
    if dataclasses.is_dataclass(hint):
        return hint, ""
    between = {dict: "NAME.", tuple: "N."}.get(typing.get_origin(hint), "")
    for inner in typing.get_args(hint):
        record, further = _record(inner)
        if record is not None:
            return record, between + further
    return None, ""


def _kind(hint: Any) -> str:
    """What a value may be, in words."""
    if dataclasses.is_dataclass(hint):
        return "mapping"
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return " | ".join(map(str, inner))
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(_kind(one) for one in inner))
    if origin is tuple:
        return f"list of {_kind(inner[0])}"
    if origin is dict:
        return f"mapping to {_kind(inner[1])}"
    return {str: "text", int: "whole number", float: "number", bool: "true | false", type(None): "null"}.get(
        hint, "any"
    )


def _default(field: dataclasses.Field) -> str | None:
    if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
        return None
    value = field.default if field.default is not dataclasses.MISSING else field.default_factory()
    return "its own defaults" if dataclasses.is_dataclass(value) else yaml_words(value)


def yaml_words(value: Any) -> str:
    """A value as YAML would have it, in one line."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(yaml_words, value))}]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {yaml_words(one)}" for key, one in value.items()) + "}"
    return str(value)


def words(cls: type, name: str) -> str:
    """What a key means; empty when nothing says it."""
    for one in cls.__mro__:
        if said := WORDS.get(one.__name__, {}).get(name):
            return said
    said = next((found[name] for one in cls.__mro__ if name in (found := _comments(one))), "")
    return said[:1].upper() + said[1:]


@functools.cache
def _comments(cls: type) -> dict[str, str]:
    """The comments beside the fields of a class, or right above them, by field."""
    lines, classes = _source(cls.__module__)
    found = {}
    for node in classes[cls.__qualname__].body if cls.__qualname__ in classes else []:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            first = node.lineno - 1
            while lines[first - 1].strip().startswith("#"):
                first -= 1
            said = [re.search(r"#\s*(?!fmt)(.+)$", line) for line in lines[first : node.end_lineno]]
            if text := " ".join(one[1].strip() for one in said if one):
                found[node.target.id] = text
    return found


@functools.cache
def _source(module: str) -> tuple[list[str], dict[str, ast.ClassDef]]:
    """(lines of a module of ours, its classes by name); nothing of others' modules."""
    file = getattr(sys.modules[module], "__file__", None)
    if file is None or not module.startswith("hpc_astrossl."):
        return [], {}
    text = Path(file).read_text(encoding="utf-8")
    return text.splitlines(), {node.name: node for node in ast.parse(text).body if isinstance(node, ast.ClassDef)}


def page(kind: str) -> str:
    """The reference of a kind of file as Markdown: docs/reference/KIND.md."""
    title = TITLES[kind]
    lines = [f"# {title}", "", f"Every key, made from the program itself (`astrossl help {kind} [KEY]` says the same).",
             "NAME, STAGE and N stand for names of yours, a stage of the plan, and a number from 0.", ""]  # fmt: skip
    lines += ["| key | what it means | value | default | since |", "|---|---|---|---|---|"]
    for one in keys(kind):
        default = "**required**" if one.default is None else f"`{one.default}`"
        cells = [f"`{one.path}`", one.words, one.kind, default, one.since]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def told(found: list[Key]) -> str:
    """Keys in full, for a terminal."""
    parts = []
    for one in found:
        default = "required" if one.default is None else f"default: {one.default}"
        parts.append(f"{one.path}\n    {one.words}\n    {one.kind}; {default}; since {one.since}")
    return "\n".join(parts)


def write(folder: Path) -> None:
    """Write the pages of all kinds."""
    folder.mkdir(parents=True, exist_ok=True)
    for kind in KINDS:
        (folder / f"{kind}.md").write_text(page(kind), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
