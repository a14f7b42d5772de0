"""Which cutouts reach over the edge is known from headers, and agrees with what cutting finds."""

import numpy as np
import pytest
from astropy.io import fits
from ingest_survey import HEIGHT, RECIPES, WIDTH, Survey
from PIL import Image

from hpc_astrossl.cutting.cutouts import EDGE, FieldSource
from hpc_astrossl.cutting.geometry import field_size, over_edge
from hpc_astrossl.errors import InputError
from hpc_astrossl.selection.catalogue import read_objects
from hpc_astrossl.specs.recipe import load_recipe


@pytest.mark.parametrize("images", ["rgb", "bands"])
def test_it_agrees_with_cutting(tmp_path, images):
    survey = Survey(tmp_path / "survey", fields=("SIM-1",), per_field=1)
    for number, x in enumerate([16, 16.5, 17, WIDTH - 16, WIDTH - 15.5, WIDTH - 15, WIDTH], start=1):
        survey.add("SIM-1", number, x, 90, ra=1, dec=0.01 * number)
    for number, y in enumerate([0, 15.9, 16.1, HEIGHT - 16, HEIGHT - 15], start=10):
        survey.add("SIM-1", number, 130, y, ra=2, dec=0.01 * number)
    recipe = load_recipe(RECIPES / "simulated.yaml")
    folder = survey.write(bands=True)
    objects = read_objects(recipe, folder)
    source = FieldSource(recipe, folder, objects, images)
    outside = over_edge(recipe, source, objects, np.arange(len(objects)))
    (unit,) = source.units(np.arange(len(objects)))
    found = source.cut(unit, np.zeros((len(objects), 32, 32, len(source.channels)), source.dtype)) == EDGE
    assert 0 < outside.sum() < len(objects)
    assert (outside[unit.rows] == found).all()


def test_sizes_are_read_from_headers(tmp_path):
    Image.fromarray(np.zeros((30, 50, 3), np.uint8)).save(tmp_path / "a.png")
    image = np.zeros((30, 50), np.float32)
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(image)]).writeto(tmp_path / "a.fits.fz")
    fits.PrimaryHDU(image).writeto(tmp_path / "a.fits")
    for name in ("a.png", "a.fits.fz", "a.fits"):
        assert field_size(tmp_path / name) == (30, 50), name


@pytest.mark.parametrize(("name", "words"), [("a.png", "unreadable or truncated image"), ("a.fits", "a.fits: ")])
def test_a_header_that_cannot_be_read_is_named(tmp_path, name, words):
    (tmp_path / name).write_bytes(b"nothing")
    with pytest.raises(InputError, match=words):
        field_size(tmp_path / name)
