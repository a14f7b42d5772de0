"""What a table says that cannot be so: ids that lost digits, magnitudes that stand for no value."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hpc_astrossl.errors import InputError
from hpc_astrossl.selection.catalogue import read_objects
from hpc_astrossl.specs.recipe import load_recipe

RECIPE = """
survey: s
release: "1"
size: 16
catalogue: {file: cat.csv, id: id, bands: [g, r], magnitude: "{band}"}
files: {image: "{id}.png"}
stores: {all: {}}
"""
TRUE = [1237648704066879000 + 7919 * n + n * n for n in range(12)]


def read(folder, *settings):
    (folder / "recipe.yaml").write_text(RECIPE)
    return read_objects(load_recipe(folder / "recipe.yaml", settings), folder)


def write(folder, ids, g=None):
    rows = [f"{one},{18 if g is None else g[n]},19" for n, one in enumerate(ids)]
    (folder / "cat.csv").write_text("\n".join(["id,g,r", *rows]) + "\n")


def test_ids_that_a_spreadsheet_rounded_are_refused(tmp_path):
    write(tmp_path, [one // 10_000 * 10_000 for one in TRUE])
    with pytest.raises(
        InputError, match=r"cat\.csv: the ids in column 'id' have no more than 15 digits that are not 0"
    ):
        read(tmp_path)


def test_ids_that_went_through_floating_point_numbers_are_told(tmp_path):
    rounded = np.array(TRUE, dtype=float).astype(np.int64)
    pq.write_table(pa.table({"id": rounded, "g": np.full(12, 18.0), "r": np.full(12, 18.0)}), tmp_path / "cat.parquet")
    (note,) = read(tmp_path, "catalogue.file=cat.parquet").notes
    assert note.startswith("the ids in column id look as if they had been floating-point numbers once")


@pytest.mark.parametrize("ids", [TRUE, TRUE[:3], range(12), [f"{one}0000" for one in range(10**11, 10**11 + 9)]])
def test_other_ids_are_not_doubted(tmp_path, ids):
    write(tmp_path, ids)
    assert read(tmp_path).notes == ()


def test_whole_numbers_of_which_some_have_a_point_are_refused(tmp_path):
    write(tmp_path, ["12", "13.0", "14"])
    with pytest.raises(InputError, match=r"'13\.0' was written as a floating-point number"):
        read(tmp_path)


@pytest.mark.parametrize("value", [-9999, -999, 90, 99.99, 1e20])
def test_what_can_be_no_magnitude_is_unknown_and_told(tmp_path, value):
    write(tmp_path, ["a", "b", "c"], [18, value, value])
    objects = read(tmp_path)
    assert np.isnan(objects.magnitudes[:, 0]).tolist() == [False, True, True]
    assert np.isfinite(objects.magnitudes[:, 1]).all()
    (note,) = objects.notes
    assert note.startswith(f"magnitudes outside -45..45, taken for unknown: g 2 (such as {value:g})")
    assert "catalogue.undetected" in note


def test_magnitudes_of_instruments_stay(tmp_path):
    write(tmp_path, ["a", "b"], [-17.5, 31.2])
    assert read(tmp_path).magnitudes[:, 0].tolist() == [-17.5, 31.2]
