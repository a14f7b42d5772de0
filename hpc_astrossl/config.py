"""Strict YAML: a file becomes a frozen dataclass or a message that says which key is wrong.

An unknown key is answered with the allowed ones, derived from the fields. The YAML dialect is a safe subset:
no tags, no aliases, no repeated keys; ``1e-3`` is a number, ``010`` and ``1:30`` are text, no number is beyond 64 bits,
and only ``true`` and ``false`` are booleans.
"""

import copy
import dataclasses
import hashlib
import json
import math
import re
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml

from hpc_astrossl.errors import InputError, unknown

T = TypeVar("T")


DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # libyaml's, where PyYAML has it: many times as fast


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader without tags, aliases, repeated keys, and YAML 1.1's booleans, dates, octals and hours."""

    yaml_implicit_resolvers: typing.ClassVar = {
        first: [(tag, pattern) for tag, pattern in rules if not tag.endswith((":bool", ":int", ":float", ":timestamp"))]
        for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_node(self, parent, index):
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError(f"line {self.peek_event().start_mark.line + 1}: aliases (*name) are not allowed")
        if self.peek_event().tag is not None:
            raise yaml.YAMLError(f"line {self.peek_event().start_mark.line + 1}: tags (!name) are not allowed")
        return super().compose_node(parent, index)

    def construct_number(self, node):
        """A number that fits into 64 bits: a larger one is a slip, and no library below would take it."""
        value = float(node.value) if set(node.value) & set(".eE") else int(node.value)
        if not abs(value) < 2**63 and not (isinstance(value, float) and math.isfinite(value)):
            raise yaml.YAMLError(f"line {node.start_mark.line + 1}: number {node.value[:40]} is too large")
        return value

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        seen = set()
        for key in keys:
            known = isinstance(key, str | int | float | bool)
            if not known or key in seen:
                raise yaml.YAMLError(f"line {node.start_mark.line + 1}: key {key!r} is repeated or not a plain name")
            seen.add(key)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false)$"), list("tf"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^[-+]?(?:0|[1-9][0-9]*)$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:[0-9]+\.[0-9]*(?:[eE][-+]?[0-9]+)?|\.[0-9]+(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+)$"),
    list("-+.0123456789"),
)

for _kind in ("int", "float"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_kind}", _Loader.construct_number)


def safe_yaml(text: str, where: str) -> Any:
    """The plain data that YAML text describes; InputError, opening with ``where``, when it is none."""
    try:
        return yaml.load(text, Loader=_Loader)  # a SafeLoader with less: no tag can build an object
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        words = " ".join(str(error).replace('in "<unicode string>", ', "at ").split())
        raise InputError(f"{where}: not valid YAML: {words}{_unquoted(text)}") from None


def _unquoted(text: str) -> str:
    """A hint, where a value begins with a word in braces, as names of files do."""
    found = re.search(r"^[^#\n]*:\s+(\{\w+\}[^\s#]+)", text, re.MULTILINE)
    return f'; text that begins with a brace stands in quotes: "{found[1]}"' if found else ""


def read_yaml(path: Path | str) -> dict[str, Any]:
    """The mapping in a YAML file; InputError when it is missing, unreadable or not a mapping."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as UTF-8 text ({error})") from None
    data = safe_yaml(text, str(path))
    if not isinstance(data, dict):
        raise InputError(f"{path}: expected a mapping of keys to values, found {type(data).__name__}")
    return data


def load(path: Path | str, cls: type[T]) -> T:
    """Read a YAML file as the dataclass ``cls``."""
    return parse(read_yaml(path), cls, str(path))


def parse(data: Any, cls: type[T], where: str) -> T:
    """Turn plain data into the dataclass ``cls``; ``where`` opens every message (a file name, say)."""
    return _convert(data, cls, where)


def _convert(value: Any, kind: Any, where: str) -> Any:
    if dataclasses.is_dataclass(kind):
        return _record(value, kind, where)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        rest = [a for a in arguments if a is not type(None)]
        if len(rest) == 1:
            return _convert(value, rest[0], where)
        for option in rest:
            if typing.get_origin(option) is dict:
                if isinstance(value, Mapping):
                    return _convert(value, option, where)
            elif typing.get_origin(option) is tuple:
                if isinstance(value, list | tuple):
                    return _convert(value, option, where)
            elif isinstance(value, option) and not (isinstance(value, bool) and option is not bool):
                return value
        if float in rest and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        raise _wrong(value, " or ".join(map(_kind_name, rest)), where)
    if origin is typing.Literal:
        if value not in arguments:
            raise InputError(f"{where}: found {_shown(value)}; allowed: {', '.join(map(str, arguments))}")
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise _wrong(value, "a list", where)
        return tuple(_convert(item, arguments[0], f"{where}[{i}]") for i, item in enumerate(value))
    if origin is dict:
        if not isinstance(value, Mapping):
            raise _wrong(value, "a mapping", where)
        return {_convert(k, arguments[0], where): _convert(v, arguments[1], f"{where}.{k}") for k, v in value.items()}
    return _scalar(value, kind, where)


_SCALARS = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


def _kind_name(kind: Any) -> str:
    origin = typing.get_origin(kind)
    return (
        {dict: "a mapping", tuple: "a list"}.get(origin) or _SCALARS.get(kind) or getattr(kind, "__name__", str(kind))
    )


def _scalar(value: Any, kind: Any, where: str) -> Any:
    if kind is Any:
        return value
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise _wrong(value, _SCALARS[kind], where)
    return value


def _record(value: Any, cls: type, where: str) -> Any:
    if isinstance(value, cls):
        return value
    if not isinstance(value, Mapping):
        raise _wrong(value, "a mapping", where)
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}
    hints = typing.get_type_hints(cls)
    for key in value:
        if key not in fields:
            raise InputError(f"{where}: {unknown('key', key, fields)}")
    missing = [
        name
        for name, field in fields.items()
        if name not in value and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise InputError(f"{where}: missing {'key' if len(missing) == 1 else 'keys'} {', '.join(missing)}")
    arguments = {key: _convert(item, hints[key], f"{where}: {key}") for key, item in value.items()}
    try:
        return cls(**arguments)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def _wrong(value: Any, expected: str, where: str) -> InputError:
    brace = isinstance(value, dict) and len(value) == 1 and None in value.values() and expected == "text"
    hint = f'; text that begins with a brace stands in quotes: "{{{next(iter(value))}}}"' if brace else ""
    return InputError(f"{where}: expected {expected}, found {_shown(value)}{hint}")


def _shown(value: Any) -> str:
    """A value as YAML has it where Python calls it otherwise."""
    return {"None": "null", "True": "true", "False": "false"}.get(repr(value), repr(value))


def plain(spec: Any) -> Any:
    """Plain data (dicts, lists, scalars) of a dataclass, as it would stand in YAML."""
    if dataclasses.is_dataclass(spec):
        return {field.name: plain(getattr(spec, field.name)) for field in dataclasses.fields(spec)}
    if isinstance(spec, tuple | list):
        return [plain(item) for item in spec]
    if isinstance(spec, Mapping):
        return {key: plain(item) for key, item in spec.items()}
    return spec


def dump(spec: Any) -> str:
    """YAML text that ``load`` reads back as an equal dataclass."""
    return yaml.dump(plain(spec), Dumper=DUMPER, sort_keys=False, allow_unicode=True, width=110)


def identity(spec: Any) -> Any:
    """Plain data of what decides a result: fields whose metadata says ``identity: False`` are left out.

    So are fields that say ``identity: "changed"`` while they hold their default: keys that came later than the first
    runs, whose ids they must not change.
    """
    if dataclasses.is_dataclass(spec):
        return {
            field.name: identity(getattr(spec, field.name))
            for field in dataclasses.fields(spec)
            if _decides(spec, field)
        }
    if isinstance(spec, tuple | list):
        return [identity(item) for item in spec]
    if isinstance(spec, Mapping):
        return {key: identity(item) for key, item in spec.items()}
    return spec


def _decides(spec: Any, field: dataclasses.Field) -> bool:
    counts = field.metadata.get("identity", True)
    if counts != "changed":
        return counts
    made = field.default_factory
    return getattr(spec, field.name) != (field.default if made is dataclasses.MISSING else made())


def digest(spec: Any) -> str:
    """Eight hexadecimal digits of what decides a result; equal configurations have equal digests."""
    text = json.dumps(identity(spec), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def merge(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with ``change`` laid over it, mapping by mapping; lists and scalars are replaced whole."""
    merged = dict(base)
    for key, value in change.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def apply_settings(base: Mapping[str, Any], pairs: Iterable[str]) -> dict[str, Any]:
    """``base`` with ``--set KEY=VALUE`` options laid over it, in their order; values are read as YAML.

    A value takes the place of what was there, whole: ``key={a: 1}`` replaces the mapping, ``key.a=1`` changes one entry
    of it, ``key.0.a=1`` one item of a list. InputError for a key that leads into what has no keys.
    """
    result = copy.deepcopy(dict(base))
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key or not all(key.split(".")):
            raise InputError(f"--set {pair!r}: expected KEY=VALUE, with a key of this file (astrossl help lists them)")
        _put(result, key.split("."), _set_value(text, f"--set {key}"), f"--set {key}")
    return result


def _set_value(text: str, where: str) -> Any:
    """The value of ``--set``: YAML, but {id}.fits is the name of files, without quotes inside those of the shell."""
    return text if re.match(r"\{\w+\}", text) else safe_yaml(text, where)


def _put(here: Any, path: list[str], value: Any, where: str) -> None:
    first, *rest = path
    if isinstance(here, list):
        if not first.isdecimal() or int(first) >= len(here):
            raise InputError(f"{where}: {first!r} is no item of a list of {len(here)}; items are numbered from 0")
        place: Any = int(first)
    elif isinstance(here, Mapping):
        place = _same_key(here, first)
    else:
        raise InputError(f"{where}: {first!r} leads into {here!r}, which has no keys")
    if not rest:
        here[place] = value
        return
    if isinstance(here, Mapping) and here.get(place) is None:
        here[place] = {}
    _put(here[place], rest, value, where)


def _same_key(here: Mapping[Any, Any], name: str) -> Any:
    """The key that is written so: keys of a mapping may be numbers."""
    return next((key for key in here if str(key) == name), name)


def settings(pairs: list[str]) -> dict[str, Any]:
    """The mapping that ``--set a.b=value`` options alone describe."""
    return apply_settings({}, pairs)
