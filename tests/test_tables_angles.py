"""Positions are degrees, whatever unit of angle the table declares for them; a number is what it is."""

import numpy as np
import pyarrow as pa
import pytest
from astropy import units
from astropy.table import Table
from pyarrow import feather, parquet

from hpc_astrossl.selection.catalogue import read_objects
from hpc_astrossl.specs.recipe import load_recipe
from hpc_astrossl.tables.tables import read_table

RA, DEC = np.array([10.5, 350.25]), np.array([-30.0, 0.125])
WANTED = {"id": "text", "ra": "angle", "dec": "angle"}


def table(unit):
    values = [(angle * units.deg).to(unit) for angle in (RA, DEC)]
    return Table({"id": np.array(["a", "b"]), "ra": values[0], "dec": values[1]})


def by_astropy(path, format, unit):
    table(unit).write(path, format=format)


def by_arrow(write):
    def written(path, _, unit):
        found = table(unit)
        fields = [pa.field("id", pa.string())]
        fields += [pa.field(name, pa.float64(), metadata={"unit": str(unit)}) for name in ("ra", "dec")]
        write(pa.table([found["id"].tolist(), *(np.asarray(found[name]) for name in ("ra", "dec"))],
                       schema=pa.schema(fields)), path)  # fmt: skip

    return written


@pytest.mark.parametrize("unit", ["deg", "rad", "arcsec"])
@pytest.mark.parametrize(("write", "format"), [
    (by_astropy, "fits"), (by_astropy, "votable"), (by_astropy, "ascii.ecsv"), (by_astropy, "ascii.ipac"),
    (by_astropy, "parquet"), (by_arrow(parquet.write_table), "parquet fields"),
    (by_arrow(feather.write_feather), "feather"),
])  # fmt: skip
@pytest.mark.filterwarnings("ignore")
def test_angles_become_degrees_by_their_declared_unit(tmp_path, write, format, unit):
    write(tmp_path / "t", format, units.Unit(unit))
    found = read_table(tmp_path / "t", WANTED)
    np.testing.assert_allclose(found["ra"], RA, rtol=1e-7)
    np.testing.assert_allclose(found["dec"], DEC, rtol=1e-7)
    plain = read_table(tmp_path / "t", {"ra": "number"})["ra"]
    np.testing.assert_allclose(plain, np.asarray(table(units.Unit(unit))["ra"]), rtol=1e-7)


def test_hours_become_degrees(tmp_path):
    Table({"id": ["a", "b"], "ra": RA / 15 * units.hourangle, "dec": DEC}).write(tmp_path / "t.ecsv")
    assert read_table(tmp_path / "t.ecsv", WANTED)["ra"].tolist() == pytest.approx(RA.tolist())


def test_a_unit_that_is_no_angle_changes_nothing(tmp_path):
    Table({"id": ["a"], "ra": [10.0] * units.m, "dec": [3.0]}).write(tmp_path / "t.fits")
    assert read_table(tmp_path / "t.fits", WANTED)["ra"].tolist() == [10.0]


def test_a_catalogue_in_radians_is_where_it_is(tmp_path):
    table(units.rad).write(tmp_path / "t.fits")
    (tmp_path / "recipe.yaml").write_text(
        "survey: s\nrelease: r\nsize: 8\ncatalogue: {file: t.fits, id: id, ra: ra, dec: dec}\n"
        "cutouts: {array: cutouts.npy}\nstores: {a: {images: rgb}}\n"
    )
    objects = read_objects(load_recipe(tmp_path / "recipe.yaml"), tmp_path)
    np.testing.assert_allclose(objects.ra, RA)
    np.testing.assert_allclose(objects.dec, DEC)
