"""A HATS catalogue as a list of Parquet files: those of the main table, never its margin's copies or its statistics.

The layout is that of the IVOA note on HATS: ``properties``, ``dataset/Norder=k/Dir=d/Npix=n.parquet``; a collection has
``collection.properties``, whose ``hats_primary_table_url`` names the folder of the main table.
"""

from pathlib import Path

from hpc_astrossl.errors import InputError

PROPERTIES = ("hats.properties", "properties")


def leaves(folder: Path) -> list[Path]:
    """The Parquet files of the main table, in the order of their pixels. InputError for a folder that is no catalogue,
    a margin, or one whose properties do not agree with its files."""
    collection = folder / "collection.properties"
    if collection.is_file():
        name = _properties(collection).get("hats_primary_table_url", "")
        if not name or not (folder / name).is_dir():
            raise InputError(f"{collection}: hats_primary_table_url names no folder beside it ({name!r})")
        return leaves(folder / name)
    about = next((folder / name for name in PROPERTIES if (folder / name).is_file()), None)
    if about is None:
        raise InputError(f"{folder}: is a folder, but no HATS catalogue (no hats.properties); give the tables in it as "
                         "a pattern, such as FOLDER/*.parquet, or images with format: folders")  # fmt: skip
    facts = _properties(about)
    kind = facts.get("dataproduct_type", "object")
    if kind not in ("object", "source"):
        raise InputError(f"{folder}: is the {kind} of a HATS catalogue, which repeats objects or holds none; give the "
                         "main table or the whole collection")  # fmt: skip
    found = sorted(path for path in (folder / "dataset").glob("Norder=*/Dir=*/Npix=*") if path.suffix == ".parquet")
    found += sorted((folder / "dataset").glob("Norder=*/Dir=*/Npix=*/*.parquet"))
    if not found:
        raise InputError(f"{folder}: no file dataset/Norder=*/Dir=*/Npix=*.parquet in this HATS catalogue")
    return found


def expected_rows(folder: Path) -> int | None:
    """How many objects the main table's properties promise; None if they do not say."""
    collection = folder / "collection.properties"
    main = folder / _properties(collection).get("hats_primary_table_url", "") if collection.is_file() else folder
    about = next((main / name for name in PROPERTIES if (main / name).is_file()), None)
    count = _properties(about).get("hats_nrows", "") if about else ""
    return int(count) if count.isdigit() else None


def is_catalogue(folder: Path) -> bool:
    """Whether a folder is a HATS catalogue or collection."""
    return any((folder / name).is_file() for name in ("collection.properties", "hats.properties"))


def _properties(path: Path) -> dict[str, str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from None
    pairs = (line.partition("=") for line in lines if "=" in line and not line.startswith("#"))
    return {key.strip(): value.strip() for key, _, value in pairs}
