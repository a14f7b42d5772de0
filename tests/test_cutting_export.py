"""Cutouts leave a store as FITS whose WCS puts the object where its RA and Dec are, and as PNG."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from PIL import Image
from sky_survey import catalogue, header, recipe, stars, wcs, write

from hpc_astrossl import cli
from hpc_astrossl.ingest import build
from hpc_astrossl.store import open_store

PLACES = [(40.3, 50.8), (90.0, 60.5), (60.7, 20.2)]


def survey(tmp_path, *settings, **options):
    folder = tmp_path / "survey"
    folder.mkdir()
    cards = header((110, 130), **options)
    ra, dec = wcs(cards).all_pix2world(*np.transpose(PLACES), 1)
    write(folder / "A_r.fits", stars((110, 130), PLACES), cards)
    catalogue(folder, ra, dec)
    (made,) = build(recipe(folder, "size=25", "fields.no_value=[]", *settings), folder, tmp_path / "out")
    return made.path, ra, dec


@pytest.mark.parametrize("settings", [(), ("fields.resample.pixel_scale=0.3",)])
@pytest.mark.parametrize("options", [{}, {"turn": 33.0, "parity": (1, 1, True), "projection": "SIP"}])
def test_the_light_is_where_the_header_says(tmp_path, capsys, settings, options):
    path, ra, dec = survey(tmp_path, *settings, **options)
    assert cli.main(["cutout", str(path), "S0", "S2", "--out", str(tmp_path / "cut")]) == 0
    assert "without WCS" not in capsys.readouterr().out
    for i in (0, 2):
        with fits.open(tmp_path / "cut" / f"S{i}.fits", checksum=True) as units:
            image, sky = units[0].data.astype(float), WCS(units[0].header)
        x, y = sky.all_world2pix(ra[i], dec[i], 1)
        rows, columns = np.indices(image.shape) + 1
        assert (image * columns).sum() / image.sum() == pytest.approx(x, abs=0.1)
        assert (image * rows).sum() / image.sum() == pytest.approx(y, abs=0.1)
        aside = sky.all_pix2world(x + 5, y - 4, 1)
        if not settings:
            there = wcs(header((110, 130), **options)).all_pix2world(PLACES[i][0] + 5, PLACES[i][1] - 4, 1)
            assert np.abs((np.array(aside) - there) * 3600).max() < 0.04
        with Image.open(tmp_path / "cut" / f"S{i}.png") as picture:
            assert picture.size == (25, 25)


def test_files_of_others_are_kept_and_the_same_cutout_is_the_same_file(tmp_path, capsys):
    path, *_ = survey(tmp_path)
    words = ["cutout", str(path), "S0", "S2", "--out", str(tmp_path / "cut")]
    assert cli.main(words) == 0
    first = (tmp_path / "cut" / "S0.fits").read_bytes()
    assert cli.main(words) == 0
    assert (tmp_path / "cut" / "S0.fits").read_bytes() == first
    (tmp_path / "cut" / "S2.png").write_text("mine")
    (tmp_path / "cut" / "S0.fits").unlink()
    assert cli.main(words) == 2
    assert "S2.png: is there already, and is another file than this cutout" in capsys.readouterr().err
    assert (tmp_path / "cut" / "S2.png").read_text() == "mine"
    assert not (tmp_path / "cut" / "S0.fits").exists()


@pytest.mark.parametrize(("ids", "words"), [(["S9"], "unknown object in .* 'S9'"), (["S0", "nothing"], "'nothing'")])
def test_an_unknown_object_is_refused(tmp_path, capsys, ids, words):
    path, *_ = survey(tmp_path)
    assert cli.main(["cutout", str(path), *ids, "--out", str(tmp_path / "cut")]) == 2
    error = capsys.readouterr().err
    assert "unknown object" in error
    assert not (tmp_path / "cut").exists()
    assert words.split("'")[1] in error


def test_arrays_have_the_names_of_their_axes_and_ids_are_bytes_too(tmp_path):
    import zarr

    path, *_ = survey(tmp_path)
    group = zarr.open_group(path, mode="r")
    names = {name: array.metadata.dimension_names for name, array in group.arrays()}
    assert names["images"] == ("object", "y", "x", "channel")
    assert names["magnitudes"] == ("object", "band")
    assert all(found and found[0] == "object" for found in names.values())
    store = open_store(path)
    texts = [bytes(row).rstrip(b"\0").decode() for row in store.table["object_id_utf8"]]
    assert texts == store.table["object_id"].tolist()
