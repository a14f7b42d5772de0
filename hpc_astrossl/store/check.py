"""Check a store: its files against the manifest, its schema, its numbers, and (deep) every chunk."""

from pathlib import Path

import numpy as np

from hpc_astrossl import manifest
from hpc_astrossl.errors import StoreChanged
from hpc_astrossl.manifest import PIXELS
from hpc_astrossl.store import claim
from hpc_astrossl.store.layout import REJECTED, SPLITS, hashed
from hpc_astrossl.store.reader import Store, open_store

NEAR = 1.0  # arcsec: two objects nearer than this are one, and must not be in two splits


def check(path: Path | str, *, deep: bool = False) -> list[str]:
    """The faults found, in words; empty when there are none.

    Deep also hashes every file, decodes every chunk, and looks for objects that two splits share. InputError when
    the store cannot be opened at all, or is another one before all of it has been looked at.
    """
    store = open_store(path, verify=False)
    faults = manifest.faults(store.path, deep=deep)
    if claim.partial(store.path).exists():
        faults.append(f"{claim.partial(store.path).name} lies beside it: another making of this store was begun and "
                      "not finished")  # fmt: skip
    if any(not fault.startswith("images/c/") for fault in faults):
        return faults  # the table may be nonsense
    faults += _counts(store) + _table(store)
    if deep:
        faults += _leaks(store) + _images(store)
    store.hold()
    return faults


def _table(store: Store) -> list[str]:
    table, info, faults = store.table, store.info, []
    lengths = {name: len(values) for name, values in table.items()}
    if set(lengths.values()) != {len(store)}:
        return [f"arrays differ in length: images {len(store)}, {lengths}"]
    if len(np.unique(table["object_id"])) != len(store):
        faults.append(f"{len(store) - len(np.unique(table['object_id']))} object ids are repeated")
    if table["split"].max(initial=0) > REJECTED:
        faults.append(f"split holds {table['split'].max()}, allowed are 0 to {REJECTED}")
    label = table["label"]
    if label.min(initial=-1) < -1 or label.max(initial=-1) >= len(info.class_names):
        faults.append(f"label outside -1..{len(info.class_names) - 1} (classes {', '.join(info.class_names)})")
    known = np.isfinite(table["ra"]) | np.isfinite(table["dec"])
    bad = known & ~((table["ra"] >= 0) & (table["ra"] <= 360) & (np.abs(table["dec"]) <= 90))
    if bad.any():
        faults.append(
            f"{bad.sum()} positions outside ra 0..360, dec -90..90 degrees, first {table['object_id'][bad][0]}"
        )
    if store.image_shape[2] != len(info.channels):
        faults.append(f"images have {store.image_shape[2]} channels, named are {', '.join(info.channels)}")
    return faults


def _counts(store: Store) -> list[str]:
    """The counts in the attributes against the rows: objects kept, those of each split and of each class."""
    said, split, usable = store.info.counts, store.table["split"], store.usable
    label = store.table["label"][usable]
    found = {"kept": len(usable), "rejected_rows": len(store) - len(usable)}
    expected = {"kept": said.get("kept"), "rejected_rows": said.get("rejected_rows", 0)}
    groups = (("splits", SPLITS, split), ("classes", store.info.class_names, label))
    for key, names, codes in groups:
        if key in said:
            found |= {f"{key} {name}": int((codes == code).sum()) for code, name in enumerate(names)}
            expected |= {f"{key} {name}": said[key].get(name) for name in names}
    return [
        f"counts say {expected[key]} for {key}, the arrays hold {number}"
        for key, number in found.items()
        if expected[key] != number
    ]


def _leaks(store: Store) -> list[str]:
    """Objects of different splits at one place on the sky; ids are known to be unique."""
    from scipy.spatial import cKDTree  # where stores are made it is there; reading one does not need it

    rows = store.usable
    ra, dec = (np.radians(store.table[name][rows]) for name in ("ra", "dec"))
    known = np.isfinite(ra) & np.isfinite(dec)
    rows, ra, dec = rows[known], ra[known], dec[known]
    if not len(rows):
        return []
    split, ids = store.table["split"], store.table["object_id"]
    # Of many objects at one place (placeholders) one a split is enough to tell, and all pairs would fill the memory.
    rows = rows[np.unique(np.stack([ra, dec, split[rows]]), axis=1, return_index=True)[1]]
    ra, dec = (np.radians(store.table[name][rows]) for name in ("ra", "dec"))
    tree = cKDTree(np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1))
    near = rows[tree.query_pairs(2 * np.sin(np.radians(NEAR / 3600) / 2), output_type="ndarray")]
    near = near[split[near[:, 0]] != split[near[:, 1]]] if len(near) else near
    if not len(near):
        return []
    one, other = near[0]
    return [f"{len(near)} pairs of objects within {NEAR:g} arcsec lie in different splits, "
            f"first {ids[one]} and {ids[other]}"]  # fmt: skip


def _images(store: Store) -> list[str]:
    faults, rejected = [], store.table["split"] == REJECTED
    hashes = np.zeros(len(store), dtype=f"S{PIXELS}")
    for index in range(-(-len(store) // store.chunk_rows)):
        try:
            images = store.chunk(index)
        except StoreChanged:
            raise
        except Exception as error:  # whatever a damaged chunk makes the codecs raise is the finding
            faults.append(str(error).removeprefix(f"{store.path}: "))
            continue
        first = index * store.chunk_rows
        hashes[first : first + len(images)] = [hashed(image) for image in images]
        flat = images.reshape(len(images), -1)
        bad = ~np.isfinite(flat).all(axis=1)
        if bad.any():
            faults.append(f"{bad.sum()} images with NaN or infinite pixels in chunk {index}, first row "
                          f"{first + int(bad.argmax())}")  # fmt: skip
        filled = flat.any(axis=1) & rejected[first : first + len(flat)]  # an empty encoded row decodes to zeros
        if filled.any():
            faults.append(f"row {first + int(filled.argmax())} is rejected, but has pixels")
    return faults + _equal(store, hashes)


def _equal(store: Store, hashes: np.ndarray) -> list[str]:
    """Pictures that are the same, pixel for pixel, in different splits."""
    rows = store.usable
    first, picture = np.unique(hashes[rows], return_index=True, return_inverse=True)[1:]
    split, ids = store.table["split"], store.table["object_id"]
    one = rows[first[picture]]
    apart = np.flatnonzero((split[one] != split[rows]) & (hashes[rows] != b""))  # unreadable ones have no hash
    if not len(apart):
        return []
    return [f"{len(apart)} images are the same, pixel for pixel, as one of another split, first {ids[one[apart[0]]]} "
            f"and {ids[rows[apart[0]]]}"]  # fmt: skip
