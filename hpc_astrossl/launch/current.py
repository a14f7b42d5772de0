"""Done means done from what lies there now: stores by their recipe and settings, runs by their store and first weights.

Only JSON and YAML are read: a login node has neither numpy nor Zarr.
"""

import glob
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpc_astrossl import config, identity
from hpc_astrossl import inputs as noted
from hpc_astrossl.errors import InputError
from hpc_astrossl.identity import Ground, Made
from hpc_astrossl.launch.plan import Item
from hpc_astrossl.launch.state import present
from hpc_astrossl.specs.jobs import PreprocessSpec
from hpc_astrossl.specs.recipe import Recipe, is_path, load_recipe


@dataclass(kw_only=True)
class Standing:
    """Keys of the items that are ``done`` from what lies there now; ``outdated`` ones, which are there, and why.

    ``unmarked`` ones are done and were made before identities were kept: whether they are out of date is not known.
    ``stale`` are tasks that left a note, and no shard lies there of what they wrote.
    """

    done: set[str] = field(default_factory=set)
    outdated: dict[str, str] = field(default_factory=dict)
    unmarked: list[str] = field(default_factory=list)
    stale: set[str] = field(default_factory=set)


def standing(items: Iterable[Item], experiment: str, workdir: Path) -> Standing:
    """What items, in the order of their needs, are worth now."""
    items = list(items)
    there = present(items, experiment, workdir)
    ground, found = Ground(workdir, experiment), Standing()
    stores: dict[str, str | None] = {}
    for item in items:
        if item.store is not None:
            _judge_store(item, item.key in there, stores, workdir, found)
        elif item.key in there and item.trains:
            _judge_run(item.key, item.needs, ground, found)
        elif item.key in there:
            found.done.add(item.key)
    return found


def untold(runs: Iterable[str], experiment: str, workdir: Path) -> Standing:
    """What runs are worth now of which nothing tells what they needed, as of a study that 0.1.0 submitted."""
    ground, found = Ground(workdir, experiment), Standing()
    for key in runs:
        if ground.run(key) is not None:
            _judge_run(key, (), ground, found)
    return found


def _judge_store(item: Item, there: bool, stores: dict[str, str | None], workdir: Path, found: Standing) -> None:
    """A store decides for all its tasks: where it lies, their notes need not; where it does not, its shards do."""
    out, whole = item.store.out, workdir / item.store.out / "zarr.json"
    if not whole.exists():
        if there and _shards_lie(workdir / item.produces, workdir / out):
            found.done.add(item.key)
            return
        if not whole.exists():  # else another task has finished the store between the two looks
            if there:
                found.stale.add(item.key)
            return
    if out not in stores:
        stores[out] = store_difference(item.store, workdir)
    if stores[out]:
        found.outdated[item.key] = stores[out]
    elif there or item.key != out:
        found.done.add(item.key)
        if out not in found.unmarked and identity.of_before(_mapping(_attributes(workdir / out).get("provenance"))):
            found.unmarked.append(out)


def _shards_lie(note: Path, store: Path) -> bool:
    """Whether all shards that a task has noted are recorded in the store's making (docs/store-format.md).

    A task may have had none to write, and so has one that found the store there: without a making that tells nothing.
    """
    try:
        shards = json.loads(note.read_bytes())["shards"]
        records = store.with_name(f"{store.name}.partial") / "manifest"
        return records.is_dir() and all((records / f"images-{int(number):05d}.json").is_file() for number in shards)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _judge_run(run: str, needed: Iterable[str], ground: Ground, found: Standing) -> None:
    made = ground.run(run) or Made.of({})
    reason = identity.misplaced(run, made.run) or ground.difference(made, named=True)
    needs = [key for key in needed if key not in found.done]
    if reason is None and (late := [key for key in needs if key in found.outdated]):
        reason = f"was made from {late[0]}, which is out of date"
    if reason is None and made.known and needs:
        reason = f"was made from {needs[0]}, which is not there any more"
    if reason is not None:
        found.outdated[run] = reason
        return
    found.done.add(run)
    if not made.known:
        found.unmarked.append(run)


def unmarked_words(keys: Iterable[str]) -> list[str]:
    """A line for stores, and one for runs, that were made before identities were kept."""
    keys, lines = list(keys), []
    stores = [key for key in keys if key.endswith(".zarr")]
    for what, some in (("stores", stores), ("runs", [key for key in keys if key not in stores])):
        if some:
            lines.append(f"{len(some)} {what} ({some[0]}{', …' if some[1:] else ''}): {identity.UNKNOWN}")
    return lines


def store_difference(spec: PreprocessSpec, workdir: Path) -> str | None:
    """Why the store that lies there is not the one that would be made, in words; None when it is.

    None, too, where that cannot be told: the recipe does not lie there, or the store did not keep its own.
    """
    attributes = _attributes(workdir / spec.out)
    kept = attributes.get("recipe")
    if not kept or not (workdir / spec.recipe).is_file():
        return None
    name = Path(spec.out).stem
    wanted = load_recipe(workdir / spec.recipe, spec.settings)
    if name not in wanted.stores:
        return None  # preprocess says so
    wanted = wanted.part(name)
    try:
        there = config.parse(kept, Recipe, "recipe")
    except InputError:
        return f"was made by a recipe that {spec.recipe} is no more"
    if key := _first_difference(config.identity(there), config.identity(wanted)):
        return f"was made by another recipe or other settings ({key})"
    return _other_inputs(attributes, wanted, spec, workdir)


def _first_difference(then: Any, now: Any, where: str = "") -> str | None:
    """The first key that differs, with both values; the order of keys counts, since it is that of classes."""
    if isinstance(then, dict) and isinstance(now, dict):
        for key in [*now, *(key for key in then if key not in now)]:
            if found := _first_difference(then.get(key), now.get(key), f"{where}.{key}" if where else str(key)):
                return found
        same = [*then] == [*now] or not where.endswith(".classes")
        return None if same else f"{where}: {', '.join(then)} then, {', '.join(now)} now"
    return None if then == now else f"{where}: {_brief(then)} then, {_brief(now)} now"


def _brief(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "…"


def _other_inputs(attributes: dict[str, Any], wanted: Recipe, spec: PreprocessSpec, workdir: Path) -> str | None:
    """Tables of another size, stores to be kept clear of that are others now, and images."""
    inputs = _mapping(_mapping(attributes.get("provenance")).get("inputs"))
    for path, digest in _mapping(inputs.get("disjoint_from")).items():
        now = _mapping(_attributes(workdir / path).get("provenance")).get("digest") if is_path(path) else None
        if now and now != digest:
            return f"was kept clear of another store than lies at {path}"
    sizes = {str(one.get("file")): one.get("bytes") for one in inputs.get("tables", ()) if isinstance(one, dict)}
    source = workdir / spec.source
    for table in wanted.tables:
        then = sizes.get(table, sizes.get(Path(table).name))  # 0.1.0 kept the last part of a path
        path = source / table
        if then is not None and path.is_file() and path.stat().st_size != then:
            return f"was made from another {table} ({then:,} bytes then, {path.stat().st_size:,} now)"
        if glob.has_magic(table) and (new := {str(one.relative_to(source)) for one in source.glob(table)} - {*sizes}):
            return f"was made without {min(new)}"
    return noted.difference(workdir / spec.out, workdir / spec.source)


def _attributes(store: Path) -> dict[str, Any]:
    try:
        return dict(_mapping(json.loads((store / "zarr.json").read_bytes()).get("attributes")))
    except (OSError, ValueError, AttributeError, RecursionError):
        return {}


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def told(outdated: dict[str, str]) -> list[str]:
    """A line for each thing that is out of date; a store's tasks go with it."""
    return [f"{key}: {reason}" for key, reason in outdated.items() if ".zarr:" not in key]


def refusal(found: Standing, experiment: str) -> InputError:
    """The error of a submission that would leave what is out of date as it is."""
    lines = told(found.outdated)
    stores = sum(line.partition(": ")[0].endswith(".zarr") for line in lines)
    return InputError(
        f"{experiment}: out of date, {len(lines)} in all:\n"
        + "\n".join(f"  {line}" for line in lines)
        + f"\nWith --remake, submit sets these aside ({ASIDE}/ beside them; nothing is deleted) and makes them again, "
        f"{stores} stores and {len(lines) - stores} runs; or bring back what they were made from"
    )


ASIDE = ".replaced"


def set_aside(items: list[Item], found: Standing, workdir: Path, stamp: str) -> list[str]:
    """Move what is out of date to ``.replaced/STAMP`` beside it, the last of the items first; what was moved.

    So an interruption leaves nothing done that was made from something that is gone.
    """
    moved = []
    for item in reversed(items):
        if item.key not in found.outdated and item.key not in found.stale:
            continue
        for path in _products(item, workdir):
            if path.exists() or path.is_symlink():
                moved.append(str(_move(path, stamp).relative_to(workdir)))
    return moved


def _products(item: Item, workdir: Path) -> list[Path]:
    """What to move of an item: a run's folder, a store, a task's note."""
    product = workdir / item.produces
    return [product.parent] if item.trains or product.name == "zarr.json" else [product]


def _move(path: Path, stamp: str) -> Path:
    home = path.parent
    folder = home / ASIDE / stamp
    if path.suffix == ".json":  # a task's note: with the folder of notes in its name
        folder = home.parent / ASIDE / stamp / home.name
    folder.mkdir(parents=True, exist_ok=True)
    place, number = folder / path.name, 2
    while place.exists():
        place, number = folder / f"{path.name}-{number}", number + 1
    path.rename(place)
    return place
