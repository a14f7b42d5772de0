"""Verbs for surveys and stores: preprocess, info, check, cutout."""

import json
import re
import sys
from pathlib import Path

from hpc_astrossl import identity
from hpc_astrossl.cli import add_verb
from hpc_astrossl.errors import EXIT_DONE, EXIT_INPUT, InputError


def add(verbs) -> None:
    """Add this module's verbs."""
    verb = add_verb(
        verbs, "preprocess", about="make the stores of a recipe from a survey release on disk",
        example="astrossl preprocess preprocess/efigi.yaml --source EFIGI --out stores --set size=64",
        handler=_preprocess,
    )  # fmt: skip
    verb.add_argument("recipe", metavar="RECIPE", type=Path, help="YAML file that describes the release")
    verb.add_argument("--source", metavar="DIR", type=Path, required=True, help="folder of the release")
    verb.add_argument("--out", metavar="DIR", type=Path, help="folder for the stores, NAME.zarr each")
    verb.add_argument(
        "--dry-run",
        action="store_true",
        help="show what would be kept and left out, without reading pixels; write nothing",
    )
    verb.add_argument("--json", action="store_true", help="print JSON instead of words")
    verb.add_argument("--store", metavar="NAME", help="make this store only")
    verb.add_argument(
        "--task", metavar="I/N", default="1/1", help="write part I of N, whole shards; any order, any node"
    )
    verb.add_argument("--workers", metavar="W", type=int, help="processes; default: the cores of this node")
    verb.add_argument("--memory-gb", metavar="G", type=float, default=2, help="memory for selecting objects, GB; what "
                      "needs more is kept in files beside the stores until it is done; default: 2")  # fmt: skip
    verb.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], help="change a key of the recipe")
    verb.add_argument("--overwrite", action="store_true", help="replace stores that are there already")

    verb = add_verb(verbs, "info", about="show what a store holds and where it came from",
                    example="astrossl info stores/SG.zarr --image SG.png", handler=_info)  # fmt: skip
    verb.add_argument("store", metavar="STORE", type=Path, help="the store, a folder NAME.zarr")
    verb.add_argument("--json", action="store_true", help="print JSON, with the recipe and all inputs")
    verb.add_argument("--image", metavar="FILE.png", type=Path,
                      help="also draw a contact sheet: objects of each class, with magnitudes where known")  # fmt: skip

    verb = add_verb(verbs, "check", about="look for faults in a store; exit status 2 if there are any",
                    example="astrossl check stores/SG.zarr --deep", handler=_check)  # fmt: skip
    verb.add_argument("store", metavar="STORE", type=Path, help="the store, a folder NAME.zarr")
    verb.add_argument("--deep", action="store_true", help="also read every chunk and verify its checksum")
    verb.add_argument("--json", action="store_true", help="print JSON instead of words")

    verb = add_verb(verbs, "cutout", about="write objects of a store as FITS with a WCS, and as PNG",
                    example="astrossl cutout stores/SG.zarr SPLUS.STRIPE82-0001.00042 --out cutouts",
                    handler=_cutout)  # fmt: skip
    verb.add_argument("store", metavar="STORE", type=Path, help="the store, a folder NAME.zarr")
    verb.add_argument(
        "ids", metavar="ID", nargs="+", help="object ids, as astrossl info and the store's table have them"
    )
    verb.add_argument("--out", metavar="DIR", type=Path, required=True, help="folder for ID.fits and ID.png")
    verb.add_argument("--format", choices=("both", "fits", "png"), default="both", help="what to write; default: both")


def _cutout(arguments) -> None:
    from hpc_astrossl.cutting.export import export
    from hpc_astrossl.store import open_store

    kinds = ("fits", "png") if arguments.format == "both" else (arguments.format,)
    for path, placed in export(open_store(arguments.store), arguments.ids, arguments.out, kinds):
        note = "" if placed or path.suffix != ".fits" else "   (without WCS: the store knows none for it)"
        print(f"{path}{note}")


def _preprocess(arguments) -> None:
    from hpc_astrossl.cutting.progress import Progress
    from hpc_astrossl.ingest import Options, build
    from hpc_astrossl.specs.recipe import load_recipe

    if arguments.dry_run:
        _preview(arguments)
        return
    if arguments.out is None:
        raise InputError("--out DIR is needed: the folder for the stores (or --dry-run, which makes none)")
    task, tasks = _task(arguments.task)
    options = Options(only=arguments.store, task=task, tasks=tasks, workers=arguments.workers,
                      overwrite=arguments.overwrite, memory_gb=arguments.memory_gb)  # fmt: skip
    recipe = load_recipe(arguments.recipe, arguments.set)
    made = build(recipe, arguments.source, arguments.out, options, Progress(sys.stderr))
    if arguments.json:
        print(json.dumps([_made(store) for store in made], indent=2, ensure_ascii=False))
        return
    for store in made:
        if store.info is None:
            print(f"{store.path}: {store.shards} of {store.of_shards} shards are there, task {arguments.task} is done; "
                  "the task that writes the last one finishes the store")  # fmt: skip
            continue
        counts = store.info.counts
        parts = [f"{store.info.name}: kept {counts['kept']:,}"]
        parts += [f"left out {_numbers(counts['rejected']) or 'none'}", _numbers(counts["splits"])]
        parts += [_numbers(counts["classes"])] if counts["classes"] else ["unlabelled"]
        parts.append(f"{store.path}" + ("" if store.fresh else " was there, same recipe and inputs: left as it is"))
        print(" · ".join(parts))


def _made(store) -> dict:
    """A store that was made, or this task's part of it, as plain data."""
    facts = {"path": str(store.path), "done": store.info is not None, "fresh": store.fresh,
             "shards": store.shards, "of_shards": store.of_shards}  # fmt: skip
    return facts | ({"name": store.info.name, "counts": store.info.counts} if store.info else {})


def _preview(arguments) -> None:
    """``preprocess --dry-run``."""
    from dataclasses import asdict

    from hpc_astrossl.ingest.dryrun import preview
    from hpc_astrossl.specs.recipe import load_recipe

    recipe = load_recipe(arguments.recipe, arguments.set)
    found = preview(recipe, arguments.source, arguments.store, lambda words: print(words, file=sys.stderr),
                    arguments.memory_gb)  # fmt: skip
    if arguments.json:
        print(json.dumps([asdict(one) for one in found], indent=2, ensure_ascii=False))
        return
    for one in found:
        height, width, channels = one.shape
        size = f"{one.bytes / 1e6:,.1f} MB without compression"
        lines = [
            (one.store, f"{one.kept:,} of {one.objects:,} objects would be kept, if their images can be used"),
            ("splits", _numbers(one.splits)),
            ("classes", _numbers(one.classes) or "none: unlabelled"),
            ("magnitudes", _numbers(one.magnitudes) or "none"),
            ("images", f"{height} × {width} × {channels} {one.dtype}, {size}"),
            ("shards", f"{one.shards:,}"),
        ]
        lines += [("left out", f"{count:,} {reason}") for reason, count in one.rejected.items()]
        lines += [("note", note) for note in one.notes]
        print("\n".join(f"{name:<11} {text}" for name, text in lines))


def _task(text: str) -> tuple[int, int]:
    """(I, N) of the words I/N."""
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if not found:
        raise InputError(f"--task {text!r}: expected I/N, two whole numbers with 1 ≤ I ≤ N, such as 1/8")
    return int(found[1]), int(found[2])


def _numbers(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())


def _info(arguments) -> None:
    from hpc_astrossl.store import open_store

    store = open_store(arguments.store)
    facts = _facts(store)
    if arguments.image:
        from hpc_astrossl.cutting import contact

        shown = contact.draw(store, arguments.image)
        print(f"{arguments.image}: {shown} of {len(store.members()):,} objects drawn", file=sys.stderr)
    print(json.dumps(facts, indent=2, ensure_ascii=False) if arguments.json else _page(facts))


def _facts(store) -> dict:
    """What a person or a script would ask of a store, as plain data."""
    info = store.info
    return {
        "path": str(store.path), "name": info.name, "survey": info.survey, "release": info.release,
        "objects": len(store.members()), "image_shape": list(store.image_shape), "dtype": str(store.dtype),
        "channels": list(info.channels), "bands": list(info.bands), "pixel_scale": info.pixel_scale,
        "counts": info.counts, "recipe": info.recipe, "provenance": info.provenance,
    }  # fmt: skip


def _page(facts: dict) -> str:
    counts, source = facts["counts"], facts["provenance"]
    height, width, channels = facts["image_shape"]
    scale = f", {facts['pixel_scale']:g} arcsec/pixel" if facts["pixel_scale"] else ""
    classes = counts.get("classes", {})
    code, inputs = source.get("code", {}), source.get("inputs", {})
    lines = [
        (facts["name"], f"{facts['survey']}, release {facts['release']}   {facts['path']}"),
        ("objects", f"{facts['objects']:,}   ({_numbers(counts.get('splits', {}))})"),
        ("images", f"{height} × {width} × {channels} {facts['dtype']} ({', '.join(facts['channels'])}){scale}"),
        ("magnitudes", ", ".join(facts["bands"]) or "none"),
        ("classes", _numbers(classes) or "none: unlabelled"),
    ]
    if classes:
        lines.append(("majority", f"{max(classes.values()) / facts['objects']:.4f} of the objects in one class"))
    lines += [("left out", f"{count:,} {reason}") for reason, count in counts.get("rejected", {}).items()]
    lines += [("input", f"{entry['file']}, {entry['bytes']:,} bytes, sha256 {entry['sha256'][:12]}…")
              for entry in inputs.get("tables", [])]  # fmt: skip
    if images := inputs.get("images"):
        lines.append(
            ("input", f"{images['files']:,} image files, {images['bytes']:,} bytes, digest {images['digest']}")
        )
    if inputs.get("unverified_images"):
        lines.append(("unverified", f"{inputs['unverified_images']:,} FITS files not held against a DATASUM"))
    commit = f", commit {code['commit']}" if code.get("commit") else ""
    if identity.of_before(source):
        lines.append(("marked", f"{identity.UNKNOWN}: which files its shards were cut from cannot be told"))
    lines.append(("made by", f"hpc_astrossl {code.get('version', 'of unknown version')}{commit}"))
    return "\n".join(f"{name:<11} {text}" for name, text in lines)


def _check(arguments) -> int:
    from hpc_astrossl.store import check

    faults = check(arguments.store, deep=arguments.deep)
    if arguments.json:
        print(json.dumps({"store": str(arguments.store), "deep": arguments.deep, "faults": faults}, ensure_ascii=False))
        return EXIT_INPUT if faults else EXIT_DONE
    print("\n".join(f"{arguments.store}: {fault}" for fault in faults) or f"{arguments.store}: no fault found")
    return EXIT_INPUT if faults else EXIT_DONE
