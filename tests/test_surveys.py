"""The recipes of ten surveys, each on files made after the survey's own header: a star of magnitude 18 is one in store.

Nothing here was written by the surveys; file names, units of the file, scales and keywords are those that they publish.
"""

import bz2
import gzip
import io

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from ingest_survey import RECIPES
from sky_survey import header, stars, wcs

from hpc_astrossl.ingest import build
from hpc_astrossl.specs.recipe import load_recipe
from hpc_astrossl.store import open_store

SHAPE, MAGNITUDE = (90, 100), 18.0
PLACE = (48.0, 45.0)


def data(recipe, **options):
    """(header, function from the flux of a star to an image with it)."""
    scale = options.pop("scale", None) or recipe.fields.pixel_scale or recipe.fields.resample.pixel_scale
    cards = header(SHAPE, (30.0, -5.0), scale=scale, **options)
    return cards, lambda flux: stars(SHAPE, [PLACE], flux, 2.0, noise=flux * 1e-5, seed=7)


def whole(*units) -> bytes:
    stream = io.BytesIO()
    fits.HDUList(list(units)).writeto(stream)
    return stream.getvalue()


def tiled(image, cards=None, name=None):
    return fits.CompImageHDU(image, cards, name=name, compression_type="GZIP_2", quantize_level=0) \
        if image.dtype.kind == "f" else fits.CompImageHDU(image, cards, name=name)  # fmt: skip


def legacy(recipe, band, flux):
    cards, image = data(recipe)
    mask = np.zeros(SHAPE, np.int16)
    mask[45, 48 + 20] = 4
    files = {
        f"T1/legacysurvey-T1-image-{band}.fits.fz": whole(fits.PrimaryHDU(), tiled(image(flux / 3.631e-6), cards)),
        "T1/legacysurvey-T1-maskbits.fits.fz": whole(fits.PrimaryHDU(), tiled(mask), tiled(mask), tiled(mask)),
    }
    return cards, files  # fmt: skip


def des(recipe, band, flux):
    cards, image = data(recipe)
    good = np.ones(SHAPE, np.float32)
    units = (
        tiled(image(counts(30, flux)), cards, "SCI"),
        tiled(good.astype(np.int32), name="MSK"),
        tiled(good, name="WGT"),
    )
    return cards, {f"T1_{band}.fits.fz": whole(fits.PrimaryHDU(), *units)}


def lsst(recipe, band, flux, name, point, names):
    cards, image = data(recipe, projection="SIP", turn=90.0)
    planes = fits.Header({"HIERARCH MP_NO_DATA": 8, "HIERARCH MP_SAT": 1, "HIERARCH MP_DETECTED": 5})
    mask = np.full(SHAPE, 1 << 5, np.uint16)
    bunit = {"BUNIT": "nJy"} if point > 30 else {}
    units = [fits.ImageHDU(image(counts(point, flux)), cards + fits.Header(bunit), name=names[0]),
             fits.ImageHDU(mask, planes, name=names[1]), fits.ImageHDU(image(1.0), name=names[2])]  # fmt: skip
    return cards, {name: whole(fits.PrimaryHDU(header=fits.Header({"FLUXMAG0": 0.0})), *units)}


def panstarrs(recipe, band, flux):
    cards, image = data(recipe, parity=(-1, 1, False))
    soften, offset, a = 50.0, 3.0, 1.0857362
    stored = a * np.arcsinh((image(counts(25, flux) * 40.0).astype(float) - offset) / (2 * soften))
    cards.update({"BSOFTEN": soften, "BOFFSET": offset, "EXPTIME": 40.0})
    name = f"rings.v3.skycell.T1.stk.{band}.unconv"
    return cards, {f"{name}.fits": whole(fits.PrimaryHDU(), tiled(stored.astype(np.float32), cards)),
                   f"{name}.mask.fits": whole(fits.PrimaryHDU(), tiled(np.zeros(SHAPE, np.int16)))}  # fmt: skip


def sdss(recipe, band, flux):
    cards, image = data(recipe, turn=70.0, parity=(1, 1, False))
    cards["CRPIX1"] += "ugriz".index(band) * 2.3  # the bands of a frame are shifted against each other
    x, y = wcs(cards).all_world2pix(*wcs(data(recipe, turn=70.0, parity=(1, 1, False))[0]).all_pix2world(*PLACE, 1), 1)
    image = stars(SHAPE, [(float(x), float(y))], flux / 3.631e-6, noise=1e-4)
    units = fits.PrimaryHDU(image, cards), fits.ImageHDU(np.ones(SHAPE[1], np.float32))
    return None, {f"frame-{band}-T1.fits.bz2": bz2.compress(whole(*units))}


def simple(recipe, flux, name, cards_more=None, extra=None, **options):
    cards, image = data(recipe, **options)
    cards.update(cards_more or {})
    return cards, {name: whole(fits.PrimaryHDU(image(flux), cards)), **(extra or {})}


def ukidss(recipe, band, flux):
    offset = recipe.fields.ab_offset[band]
    cards, image = data(recipe, projection="ZPN", turn=90.0)
    cards["MAGZPT"] = 24.053
    unit = fits.ImageHDU(image(counts(24.053 + offset, flux) * 10.0) + np.float32(500.25), cards)
    return cards, {f"T1_{band}.fits": whole(fits.PrimaryHDU(header=fits.Header({"EXP_TIME": 10.0})), unit)}


def counts(zero_point, jansky):
    return jansky / 3631 * 10 ** (0.4 * zero_point)


def weight():
    return whole(fits.PrimaryHDU(np.ones(SHAPE, np.float32)))


MAKERS = {
    "legacy_surveys": legacy,
    "des_dr2": des,
    "hsc_pdr3": lambda r, b, f: lsst(r, b, f, f"calexp-{b}-T1.fits", 27.0, (None, None, None)),
    "rubin_dp1": lambda r, b, f: lsst(r, b, f, f"deep_coadd_T1_{b}.fits", 31.4, ("IMAGE", "MASK", "VARIANCE")),
    "panstarrs_stack": panstarrs,
    "sdss_frames": sdss,
    "euclid_q1_mer": lambda r, b, f: simple(r, counts(24.6, f), f"BGSUB-MOSAIC-{r.fields.band_names[b]}_T1.fits",
                                            {"MAGZERO": 24.6}),
    "kids_dr4": lambda r, b, f: simple(r, f / 3631, f"KiDS_DR4.0_T1_{b}_sci.fits",
                                       extra={f"KiDS_DR4.0_T1_{b}_wei.fits": weight()}),
    "viking_ukidss": ukidss,
    "jplus_dr3": lambda r, b, f: simple(r, counts(23.0, f), f"T1.{b}_swp.fits.fz"),
    "unwise": lambda r, b, f: simple(
        r, counts(22.5 + r.fields.ab_offset[b], f), f"unwise-T1-{b}-img-m.fits", {"MAGZP": 22.5},
        extra={f"unwise-T1-{b}-invvar-m.fits.gz": gzip.compress(weight())}),
}  # fmt: skip


def catalogue(folder, recipe, ra, dec):
    spec = recipe.catalogue
    row = {spec.id: [1234567890123], spec.ra: [ra], spec.dec: [dec]}
    row |= {spec.field: ["T1"]} if spec.field else {}
    value = 18.0 if spec.magnitude else 100.0
    for pattern in (spec.magnitude or spec.flux, spec.error or spec.flux_error or spec.flux_ivar):
        row |= {name: [value if pattern in (spec.magnitude, spec.flux) else 0.1] for name in spec.columns(pattern)}
    path = folder / spec.file
    table = Table({name: np.array(values) for name, values in row.items()})
    if path.suffix == ".parquet":
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.table(row), path)
    else:
        table.write(path, format="fits" if path.suffix == ".fits" else "ascii.csv")


@pytest.mark.parametrize("name", MAKERS)
def test_a_star_of_magnitude_18_is_one_in_the_store(tmp_path, name):
    recipe = load_recipe(RECIPES / f"{name}.yaml", ["split={train: 1, validation: 0, test: 0}"])
    folder = tmp_path / "release"
    folder.mkdir()
    for band in recipe.catalogue.bands:
        cards, made = MAKERS[name](recipe, band, 3631 * 10 ** (-0.4 * MAGNITUDE))
        for file, content in made.items():
            (folder / file).parent.mkdir(exist_ok=True)
            (folder / file).write_bytes(content)
    cards = cards or data(recipe, turn=70.0, parity=(1, 1, False))[0]
    if name == "jplus_dr3":
        bands = recipe.catalogue.bands
        lines = ["TILE_ID," + ",".join(f"ZP_{band}" for band in bands), "T1," + ",".join(["23.0"] * len(bands))]
        (folder / "zero_points.csv").write_text("\n".join(lines) + "\n")
    catalogue(folder, recipe, *(float(axis) for axis in wcs(cards).all_pix2world(*PLACE, 1)))
    (made,) = build(recipe, folder, tmp_path / "out")
    store = open_store(made.path)
    image = store.images(np.arange(1))[0].astype(float)
    ring = np.hypot(*(np.indices(image.shape[:2]) - (recipe.size - 1) / 2))
    image -= np.median(image[(ring > 13) & (ring < 16)], axis=0)
    flux = (image * (ring < 11)[..., None]).sum(axis=(0, 1)) * 1e-5 * store.info.pixel_scale**2
    np.testing.assert_allclose(-2.5 * np.log10(flux), MAGNITUDE, atol=0.02)
