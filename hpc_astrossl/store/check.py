"""Check a store: its files against the manifest, its schema, its numbers, and (deep) every chunk.

Rows are gone through in stretches (``sweep``), so that memory does not grow with the store.
"""

from pathlib import Path

import numpy as np

from hpc_astrossl import manifest
from hpc_astrossl.errors import StoreChanged
from hpc_astrossl.manifest import PIXELS
from hpc_astrossl.store import claim, sweep
from hpc_astrossl.store.layout import REJECTED, SPLITS, hashed
from hpc_astrossl.store.reader import Store, open_store

PICTURE = np.dtype([("hash", f"S{PIXELS}"), ("row", np.int64), ("split", np.uint8)])
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
    faults += _table(store)
    if deep:
        faults += _leaks(store) + _images(store)
    store.hold()
    return faults


def _table(store: Store) -> list[str]:
    info, count = store.info, len(store)
    lengths = {name: store.table.rows(name) for name in store.table}
    if set(lengths.values()) != {count}:
        return [f"arrays differ in length: images {count}, {lengths}"]
    found, faults = _Tally(store), []
    for _, part in sweep.stretches(store.table, ["object_id", "split", "label", "ra", "dec"], count):
        found.add(part)
    if repeated := sweep.repeats(store.table, count):
        faults.append(f"{repeated} object ids are repeated")
    if found.most_split > REJECTED:
        faults.append(f"split holds {found.most_split}, allowed are 0 to {REJECTED}")
    if found.labels[0] < -1 or found.labels[1] >= len(info.class_names):
        faults.append(f"label outside -1..{len(info.class_names) - 1} (classes {', '.join(info.class_names)})")
    if found.lost:
        faults.append(f"{found.lost} positions outside ra 0..360, dec -90..90 degrees, first {found.first_lost}")
    if store.image_shape[2] != len(info.channels):
        faults.append(f"images have {store.image_shape[2]} channels, named are {', '.join(info.channels)}")
    return found.counts() + faults


class _Tally:
    """What is counted of a store's rows."""

    def __init__(self, store: Store):
        self.info, self.rows = store.info, len(store)
        self.splits, self.classes = np.zeros(256, dtype=np.int64), np.zeros(len(store.info.class_names), dtype=np.int64)
        self.labels, self.lost, self.first_lost = (-1, -1), 0, ""  # labels: the least and the greatest

    @property
    def most_split(self) -> int:
        """The greatest code of a split."""
        return int(np.flatnonzero(self.splits).max(initial=0))

    def add(self, part: dict[str, np.ndarray]) -> None:
        """Count the rows of a stretch."""
        split, label, ra, dec = (part[name] for name in ("split", "label", "ra", "dec"))
        self.splits += np.bincount(split, minlength=256)
        usable = label[split != REJECTED]
        for code in range(len(self.classes)):
            self.classes[code] += np.count_nonzero(usable == code)
        self.labels = min(self.labels[0], int(label.min())), max(self.labels[1], int(label.max()))
        bad = (np.isfinite(ra) | np.isfinite(dec)) & ~((ra >= 0) & (ra <= 360) & (np.abs(dec) <= 90))
        if bad.any() and not self.lost:
            self.first_lost = str(part["object_id"][bad][0])
        self.lost += int(np.count_nonzero(bad))

    def counts(self) -> list[str]:
        """The counts in the attributes against the rows: objects kept, those of each split and of each class."""
        said, rejected = self.info.counts, int(self.splits[REJECTED])
        found = {"kept": self.rows - rejected, "rejected_rows": rejected}
        expected = {"kept": said.get("kept"), "rejected_rows": said.get("rejected_rows", 0)}
        groups = (("splits", SPLITS, self.splits), ("classes", self.info.class_names, self.classes))
        for key, names, numbers in groups:
            if key in said:
                found |= {f"{key} {name}": int(number) for name, number in zip(names, numbers, strict=False)}
                expected |= {f"{key} {name}": said[key].get(name) for name in names}
        return [
            f"counts say {expected[key]} for {key}, the arrays hold {number}"
            for key, number in found.items()
            if expected[key] != number
        ]


def _leaks(store: Store) -> list[str]:
    """Objects of different splits at one place on the sky; ids are known to be unique."""
    count, first = 0, None
    for zone in sweep.zones(store.table, ["split"], len(store), 1.000001 * NEAR / 3600):
        pairs = _near(zone)
        if len(pairs):
            count += len(pairs)
            pair = tuple(pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))[0]].tolist())
            first = pair if first is None else min(first, pair)
    if first is None:
        return []
    one, other = (store.table.part("object_id", row, row + 1)[0] for row in first)
    return [f"{count} pairs of objects within {NEAR:g} arcsec lie in different splits, first {one} and {other}"]


def _near(zone: dict[str, np.ndarray]) -> np.ndarray:
    """Pairs of a zone's rows, the smaller first, that are near each other and in different splits; (M, 2)."""
    from scipy.spatial import cKDTree  # where stores are made it is there; reading one does not need it

    usable = zone["split"] != REJECTED
    ra, dec, split, rows, own = (zone[name][usable] for name in ("ra", "dec", "split", "row", "own"))
    ra, dec = np.radians(ra), np.radians(dec)
    # Of many objects at one place (placeholders) one a split is enough to tell, and all pairs would fill the memory.
    kept = np.unique(np.stack([ra, dec, split]), axis=1, return_index=True)[1]
    if not len(kept):
        return np.empty((0, 2), dtype=np.int64)
    ra, dec, split, rows, own = (values[kept] for values in (ra, dec, split, rows, own))
    tree = cKDTree(np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1))
    near = tree.query_pairs(2 * np.sin(np.radians(NEAR / 3600) / 2), output_type="ndarray").reshape(-1, 2)
    near = near[(split[near[:, 0]] != split[near[:, 1]]) & own[near].any(axis=1)]
    return np.sort(rows[near], axis=1)


def _images(store: Store) -> list[str]:
    faults = []
    with sweep.Bins(PICTURE, len(store)) as bins:
        for index in range(-(-len(store) // store.chunk_rows)):
            try:
                images = store.chunk(index)
            except StoreChanged:
                raise
            except Exception as error:  # whatever a damaged chunk makes the codecs raise is the finding
                faults.append(str(error).removeprefix(f"{store.path}: "))
                continue
            first = index * store.chunk_rows
            split = store.table.part("split", first, first + len(images))
            flat = images.reshape(len(images), -1)
            bad = ~np.isfinite(flat).all(axis=1)
            if bad.any():
                faults.append(f"{bad.sum()} images with NaN or infinite pixels in chunk {index}, first row "
                              f"{first + int(bad.argmax())}")  # fmt: skip
            filled = flat.any(axis=1) & (split == REJECTED)  # an empty encoded row decodes to zeros
            if filled.any():
                faults.append(f"row {first + int(filled.argmax())} is rejected, but has pixels")
            _deal(bins, images, split, first)
        return faults + _equal(store, bins)


def _deal(bins: sweep.Bins, images: np.ndarray, split: np.ndarray, first: int) -> None:
    """Put down the hashes of a chunk's pictures."""
    usable = np.flatnonzero(split != REJECTED)
    records = np.empty(len(usable), dtype=PICTURE)
    records["row"], records["split"] = first + usable, split[usable]
    drawn = np.frombuffer(b"".join(hashed(images[i]) for i in usable.tolist()), np.uint8).reshape(-1, PIXELS)
    records["hash"] = drawn.view(f"S{PIXELS}").ravel()
    bins.add(records, np.ascontiguousarray(drawn[:, :4]).view(np.uint32).ravel().astype(np.uint64))


def _equal(store: Store, bins: sweep.Bins) -> list[str]:
    """Pictures that are the same, pixel for pixel, in different splits."""
    count, first = 0, None
    for blocks in bins:
        known = np.empty(0, dtype=PICTURE)  # the first of each picture
        for block in blocks:
            all_ = np.concatenate([known, block])
            at, picture = np.unique(all_["hash"], return_index=True, return_inverse=True)[1:]
            one = all_[at[picture]]
            apart = np.flatnonzero(one["split"] != all_["split"])
            if len(apart):
                count += len(apart)
                least = apart[all_["row"][apart].argmin()]
                pair = int(all_["row"][least]), int(one["row"][least])
                first = pair if first is None else min(first, pair)
            known = all_[np.sort(at)]
    if first is None:
        return []
    other, one = (store.table.part("object_id", row, row + 1)[0] for row in first)
    return [f"{count} images are the same, pixel for pixel, as one of another split, first {one} and {other}"]
