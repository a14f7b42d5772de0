"""Check a store: its schema, its numbers, and (deep) every chunk."""

from pathlib import Path

import numpy as np

from hpc_astrossl.store.layout import SPLITS
from hpc_astrossl.store.reader import Store, open_store


def check(path: Path | str, *, deep: bool = False) -> list[str]:
    """The faults found, in words; empty when there are none. Deep reads every chunk and its checksum.

    InputError when the store cannot be opened at all.
    """
    store = open_store(path)
    faults = _table(store)
    if deep:
        faults += _images(store)
    return faults


def _table(store: Store) -> list[str]:
    table, info, faults = store.table, store.info, []
    lengths = {name: len(values) for name, values in table.items()}
    if set(lengths.values()) != {len(store)}:
        return [f"arrays differ in length: images {len(store)}, {lengths}"]
    if len(np.unique(table["object_id"])) != len(store):
        faults.append(f"{len(store) - len(np.unique(table['object_id']))} object ids are repeated")
    if table["split"].max(initial=0) >= len(SPLITS):
        faults.append(f"split holds {table['split'].max()}, allowed are 0 to {len(SPLITS) - 1}")
    label = table["label"]
    if label.min(initial=-1) < -1 or label.max(initial=-1) >= len(info.class_names):
        faults.append(f"label outside -1..{len(info.class_names) - 1} (classes {', '.join(info.class_names)})")
    known = np.isfinite(table["ra"]) | np.isfinite(table["dec"])
    bad = known & ~((table["ra"] >= 0) & (table["ra"] < 360) & (np.abs(table["dec"]) <= 90))
    if bad.any():
        faults.append(
            f"{bad.sum()} positions outside ra 0..360, dec -90..90 degrees, first {table['object_id'][bad][0]}"
        )
    if info.counts.get("kept") != len(store):
        faults.append(f"counts say {info.counts.get('kept')} objects kept, the arrays hold {len(store)}")
    if store.image_shape[2] != len(info.channels):
        faults.append(f"images have {store.image_shape[2]} channels, named are {', '.join(info.channels)}")
    return faults


def _images(store: Store) -> list[str]:
    faults = []
    for index in range(-(-len(store) // store.chunk_rows)):
        try:
            images = store.chunk(index)
        except Exception as error:  # whatever a damaged chunk makes the codecs raise is the finding
            faults.append(str(error))
            continue
        bad = ~np.isfinite(images).all(axis=(1, 2, 3))
        if bad.any():
            faults.append(f"{bad.sum()} images with NaN or infinite pixels in chunk {index}, first row "
                          f"{index * store.chunk_rows + int(bad.argmax())}")  # fmt: skip
    return faults
