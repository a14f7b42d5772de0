"""One scale for all objects of a store, and masks that lie on the pixels of their images."""

import numpy as np
import pytest
import sky_survey as sky

from hpc_astrossl import store as stores
from hpc_astrossl.cutting.fields import FieldSource
from hpc_astrossl.errors import InputError
from hpc_astrossl.ingest import scales
from hpc_astrossl.ingest.build import Options, build

PAD = ("fields.edge=pad", "fields.max_bad=0.5")


class Heard:
    """What is said."""

    def __init__(self):
        self.lines = []

    def say(self, text):
        self.lines.append(text)


@pytest.fixture
def release(tmp_path):
    """Two fields of 0.4 and 0.8 arcsec a pixel, four objects each."""
    places = np.array([[60.0, 50.0], [200.0, 60.0], [70.0, 170.0], [190.0, 160.0]])
    image, found = sky.stars((220, 260), places, noise=0.1), []
    for name, centre, scale in (("F1", 150.0, 0.4), ("F2", 150.2, 0.8)):
        cards = sky.header(centre=(centre, 2.0), scale=scale)
        sky.write(tmp_path / f"{name}_r.fits", image, cards)
        found.append(sky.wcs(cards).all_pix2world(places, 1).T)
    ra, dec = np.concatenate(found, axis=1)
    sky.catalogue(tmp_path, ra, dec)
    return tmp_path


def make(folder, *settings):
    (made,) = build(sky.recipe(folder, *settings), folder, folder / "out", Options(workers=1))
    return stores.open_store(made.path)


def test_fields_of_two_scales_are_refused_before_one_is_cut(release, monkeypatch):
    monkeypatch.setattr(FieldSource, "cut", lambda *_: pytest.fail("a field was cut"))
    words = r"store all: its fields have pixels of 0\.4 arcsec \(F1\) to 0\.8 \(F2\), .*fields\.resample"
    for settings in ((), PAD):
        with pytest.raises(InputError, match=words):
            make(release, *settings)
        assert not list(release.glob("out/*"))


def test_a_field_that_is_replaced_after_its_header_was_asked_is_refused_when_the_store_is_finished(
    release, monkeypatch
):
    monkeypatch.setattr(scales, "ahead", lambda draft: None)
    words = r"store all: its images have pixels of 0\.4 arcsec \(object S\d\) to 0\.8 \(object S\d\), .*--overwrite"
    with pytest.raises(InputError, match=words):
        make(release)


def test_resampled_to_one_scale_they_are_taken(release):
    store = make(release, "fields.resample={pixel_scale: 0.8}")
    assert store.info.counts["kept"] == 8
    assert store.info.pixel_scale == 0.8


@pytest.mark.parametrize("kind", ["mask", "weight"])
@pytest.mark.parametrize(("change", "words"), [({"CRPIX1": 140.0}, "shifted by 9.50"), ({"CD1_1": 1e-4}, "mirrored")])
def test_a_mask_that_lies_elsewhere_is_refused(release, kind, change, words):
    (release / "F2_r.fits").unlink()
    rows = (release / "cat.csv").read_text().splitlines()[:5]
    (release / "cat.csv").write_text("\n".join(rows) + "\n")
    pixels = np.zeros((220, 260), np.int16) if kind == "mask" else np.ones((220, 260), np.float32)
    sky.write(release / "F1_beside.fits", pixels, sky.header(), **change)
    beside = f'fields.{kind}={{file: "{{field}}_beside.fits"}}'
    with pytest.raises(InputError, match=rf"F1_beside\.fits: the {kind} does not lie on .*F1_r\.fits: {words}"):
        make(release, beside)
    sky.write(release / "F1_beside.fits", pixels)  # of no WCS at all: its pixels are the image's
    assert make(release, beside).info.counts["kept"] == 4
