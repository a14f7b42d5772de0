"""Files in the styles of some twenty producers, made here after real ones' headers: read rightly, or refused with why.

A star of 1000 counts is cut; what it is worth says the file or the recipe. The outcomes on the real files that these
imitate are in docs/surveys.md.
"""

import bz2
import gzip
import io

import numpy as np
import pytest
import sep
from astropy.io import fits
from sky_survey import SCALE, catalogue, header, recipe, stars, wcs

from hpc_astrossl import cli
from hpc_astrossl.errors import InputError
from hpc_astrossl.ingest import build
from hpc_astrossl.store import open_store

SHAPE, PLACE, FLUX = (60, 60), (30, 31), 1000.0
STAR = stars(SHAPE, [PLACE], FLUX)
NOISY = stars(SHAPE, [PLACE], FLUX, noise=0.01)
NO_POINT = "fields.zero_point=null"
MEGA = 1e6 * (SCALE / 3600 * np.pi / 180) ** 2  # Jy in a pixel of 1 MJy/sr


def cards(more=None, **options):
    found = header(SHAPE, **options)
    found.update(more or {})
    return found


def packed(*units) -> bytes:
    stream = io.BytesIO()
    fits.HDUList(list(units)).writeto(stream)
    return stream.getvalue()


def primary(more=None):
    return fits.PrimaryHDU(header=fits.Header(more or {}))


def plain(image=STAR, more=None, **options) -> bytes:
    return packed(fits.PrimaryHDU(image, cards(more, **options)))


def no_sky(image=STAR, more=None) -> bytes:
    return packed(fits.PrimaryHDU(image, fits.Header(more or {})))


def tiled(image, own):
    return fits.CompImageHDU(image, own, compression_type="GZIP_2", quantize_level=0)


def lsst() -> bytes:
    mask = fits.ImageHDU(np.zeros(SHAPE, np.uint16), fits.Header({"HIERARCH MP_SAT": 1}))
    return packed(primary({"FLUXMAG0": 0.0}), fits.ImageHDU(STAR, cards(projection="SIP")), mask,
                  fits.ImageHDU(np.ones(SHAPE, np.float32)))  # fmt: skip


def hst() -> bytes:
    units = (
        fits.ImageHDU(STAR, cards({"BUNIT": "ELECTRONS"}, projection="SIP"), name="SCI"),
        fits.ImageHDU(np.ones(SHAPE, np.float32), name="ERR"),
        fits.ImageHDU(np.zeros(SHAPE, np.int16), name="DQ"),
    )
    return packed(primary(), *units)  # fmt: skip


def stale() -> bytes:
    content = packed(primary(), fits.ImageHDU(STAR, cards({"DATASUM": "12345"}, projection="TPV")))
    return gzip.compress(content)


def scaled(value: int | None = None) -> bytes:
    """int16 with BSCALE, BZERO and BLANK; ``value`` at some pixels."""
    unit = fits.PrimaryHDU(np.round(STAR / 0.004).astype(np.int16) - 1000, cards())
    if value is not None:
        unit.data[28:34, 28:34] = value
    unit.header["BSCALE"], unit.header["BZERO"], unit.header["BLANK"] = 0.004, 4.0, -32768
    return packed(unit)


def holed(value) -> bytes:
    image = NOISY.copy()
    image[20:26, 20:26] = value
    return plain(image)


def radio() -> bytes:
    own = cards({"BUNIT": "JY/BEAM"}, projection="SIN")
    return packed(fits.PrimaryHDU(STAR[None, None], own))


def asinh() -> bytes:
    stored = 1.0857362 * np.arcsinh((STAR.astype(float) - 3) / 100)
    own = cards({"BSOFTEN": 50.0, "BOFFSET": 3.0, "EXPTIME": 40.0})
    return packed(primary(), tiled(stored.astype(np.float32), own))


def scamp() -> bytes:
    own = cards()
    for axis in (1, 2):
        own[f"PV{axis}_0"], own[f"PV{axis}_1"], own[f"PV{axis}_4"] = 0.0, 1.0, 0.01
    return plain(more=own)


def table() -> bytes:
    return packed(primary(), fits.TableHDU.from_columns([fits.Column("A", "F8.3", array=np.arange(3.0))]))


POINT = lambda value: value - 2.5 * np.log10(FLUX)  # noqa: E731
# Producer: (the file, what the recipe says, the star's AB magnitude or the words of the refusal).
PRODUCERS = {
    "HSC, image not named": (lsst(), [], "holds several images: 1 .*hdu: 1"),
    "HSC, FLUXMAG0 of 0": (lsst(), ["fields.hdu=1", "fields.zero_point=FLUXMAG0"], "FLUXMAG0 = 0.0 is no zero point"),
    "HSC": (lsst(), ["fields.hdu=1", "fields.zero_point=27"], POINT(27)),
    "Mosaic3": (packed(primary({"MAGZERO": 26.3, "BUNIT": "ADU"}), tiled(STAR, cards(projection="TPV"))),
                ["fields.zero_point=MAGZERO"], POINT(26.3)),
    "DECam": (plain(more={"MAGZERO": 30.12, "MAGZPT": 25.109}), ["fields.zero_point=[MAGZERO, MAGZPT]"], "disagree"),
    "unWISE": (plain(more={"MAGZP": 22.5}), ["fields.zero_point=MAGZP", "fields.ab_offset=2.699"], POINT(25.199)),
    "KiDS without WCS": (no_sky(), ["fields.unit=maggy", NO_POINT], "no celestial WCS"),
    "VISTA without WCS": (packed(primary(), tiled(STAR, fits.Header())), [], "no celestial WCS"),
    "CTIO, stale DATASUM": (stale(), [], "do not add up to their DATASUM"),
    "CTIO": (stale(), ["fields.checksum=false"], POINT(25)),
    "HST/ACS, image not named": (hst(), [], "holds several images: .*SCI"),
    "HST/ACS": (hst(), ["fields.hdu=SCI"], POINT(25)),
    "COSMOS, float64": (plain(STAR.astype(">f8"), {"BUNIT": "electrons"}), [], POINT(25)),
    "JWST": (plain(more={"BUNIT": "MJy/sr"}, turn=70.0), [NO_POINT, "fields.unit=MJy/sr"],
             -2.5 * np.log10(FLUX * MEGA / 3631)),
    "UKIDSS": (packed(primary(), fits.ImageHDU(STAR, cards({"MAGZPT": 24.05}, projection="ZPN", turn=90.0))),
               ["fields.zero_point=MAGZPT"], POINT(24.05)),
    "VLA FIRST": (radio(), [NO_POINT, "fields.unit=Jy"], "flux per beam"),
    "EMMI, int16 with BSCALE": (scaled(), [], POINT(25)),
    "BLANK": (scaled(-32768), [], "pixels without a value"),
    "compressed float with BZERO": (packed(primary(), tiled(STAR, cards({"BSCALE": 1.0, "BZERO": 0.0}))), [],
                                    POINT(25)),
    "compress (.Z)": (b"\x1f\x9d\x90" + bytes(100), [], "compressed with compress .* gzip -d"),
    "an ASCII table": (table(), [], "holds no two-dimensional image"),
    "Euclid, JPEG": (b"\xff\xd8\xff\xe0" + bytes(100), [], "a JPEG picture"),
    "an error page": (b"<!DOCTYPE html><p>503", [], "an HTML or XML page"),
    "an error page, gzipped": (gzip.compress(b"\n<html>404"), [], "an HTML or XML page"),
    "SDSS frame": (bz2.compress(plain(turn=70.0, parity=(1, 1, False), more={"BUNIT": "nanomaggy"})),
                   [NO_POINT, "fields.unit=nanomaggy"], POINT(22.5)),
    "Pan-STARRS stack": (asinh(), ["fields.exposure=EXPTIME"], POINT(25) + 2.5 * np.log10(40)),
    "SCAMP": (scamp(), [], POINT(25)),
    "SWarp, no data": (holed(0.0), [], "pixels without a value"),
    "SWarp without resampling": (holed(-1e30), [], "pixels without a value"),
    "DES": (packed(primary(), *(fits.CompImageHDU(image, own, name=name, quantize_level=0, compression_type="GZIP_1")
                                for name, image, own in (("SCI", STAR, cards()), ("WGT", STAR + 1, None)))),
            ["fields.hdu=SCI", "fields.zero_point=30", "fields.weight.hdu=WGT"], POINT(30)),
}  # fmt: skip


@pytest.mark.parametrize("name", PRODUCERS)
def test_a_file_is_read_rightly_or_refused(tmp_path, name):
    content, settings, expected = PRODUCERS[name]
    folder = tmp_path / "survey"
    folder.mkdir()
    (folder / "A_r.fits").write_bytes(content)
    own = header(SHAPE)
    if not isinstance(expected, str):
        own = sky_of(content, settings)
    catalogue(folder, *wcs(own).all_pix2world([PLACE[0]], [PLACE[1]], 1))
    made = recipe(folder, "size=31", *([] if "no data" in name else ["fields.no_value=[]"]), *settings)
    if isinstance(expected, str):
        with pytest.raises(InputError, match=expected):
            build(made, folder, tmp_path / "out")
        return
    (built,) = build(made, folder, tmp_path / "out")
    store = open_store(built.path)
    image = store.images(np.arange(1))[0, ..., 0].astype(float)
    assert -2.5 * np.log10(image.sum() * 1e-5 * store.info.pixel_scale**2) == pytest.approx(expected, abs=6e-3)
    assert np.unravel_index(image.argmax(), image.shape) == (15, 15)


def test_a_bad_field_among_good_ones_is_told_and_costs_its_own_place_only(tmp_path, capsys):
    """Found by position, an object of a damaged field would be in no field without a word."""
    folder = tmp_path / "survey"
    folder.mkdir()
    (folder / "A_r.fits").write_bytes(plain())
    (folder / "B_r.fits").write_bytes(b"<html>503</html>")
    catalogue(folder, *wcs(header(SHAPE)).all_pix2world([PLACE[0]], [PLACE[1]], 1))
    made = recipe(folder, "size=31", "fields.no_value=[]")
    with pytest.raises(InputError, match=r"B_r\.fits: .* an HTML or XML page"):
        build(made, folder, tmp_path / "out")
    call = ["preprocess", str(folder / "recipe.yaml"), "--source", str(folder), "--out", str(tmp_path / "out")]
    settings = ["size=31", "fields.no_value=[]", "fields.unreadable=reject"]
    assert cli.main(call + [part for setting in settings for part in ("--set", setting)]) == 0
    captured = capsys.readouterr()
    assert "1 fields cannot be read, so no object is found in them" in captured.out + captured.err
    assert len(open_store(tmp_path / "out" / "all.zarr")) == 1


def sky_of(content: bytes, settings):
    """The header with the WCS, by astropy alone."""
    for magic, undo in ((b"\x1f\x8b", gzip.decompress), (b"BZh", bz2.decompress)):
        content = undo(content) if content.startswith(magic) else content
    with fits.open(io.BytesIO(content)) as units:
        return next(unit.header for unit in units if "CTYPE1" in unit.header).copy()


def test_aperture_fluxes_of_cutouts_are_those_of_a_source_extractor_catalogue(tmp_path):
    """As of the EMMI image that comes with sep: int16 with BSCALE, no WCS, an ASCII_HEAD table of that image."""
    rng = np.random.default_rng(3)
    places = np.stack([c.ravel() for c in np.meshgrid(np.arange(30, 230, 40), np.arange(30, 230, 40))], 1)
    places = places + rng.uniform(-5, 5, places.shape)
    light = stars((256, 256), places, 3000.0, noise=1.0) + np.linspace(0, 20, 256, dtype=np.float32)
    scale = 0.01
    unit = fits.PrimaryHDU(np.round((light - 100) / scale).astype(np.int16))
    unit.header["BSCALE"], unit.header["BZERO"] = scale, 100.0
    unit.writeto(tmp_path / "image.fits")
    light = fits.getdata(tmp_path / "image.fits").astype(np.float64)
    back = sep.Background(light, bw=64, bh=64).back()
    flux, *_ = sep.sum_circle(light - back, places[:, 0] - 1, places[:, 1] - 1, 5.0, err=1.0)
    names = ["NUMBER", "X_IMAGE", "Y_IMAGE", "FLUX_APER", "FLUXERR_APER", "FLAGS"]
    lines = [f"# {i:3d} {name:22s} About {name}" for i, name in enumerate(names, start=1)]
    lines += [f"{i:10d} {x:10.4f} {y:10.4f} {f:12.7g} 9 0"
              for i, ((x, y), f) in enumerate(zip(places, flux, strict=True), start=1)]  # fmt: skip
    (tmp_path / "image.cat").write_text("\n".join(lines) + "\n")
    spec = {"file": "image.cat", "format": "sextractor", "id": "NUMBER", "x": "X_IMAGE", "y": "Y_IMAGE",
            "bands": ["APER"], "flux": "FLUX_{band}", "flux_error": "FLUXERR_{band}", "unit": 25, "ra": None,
            "dec": None, "magnitude": None}  # fmt: skip
    settings = [f"catalogue.{key}={'null' if value is None else value}" for key, value in spec.items()]
    made = recipe(tmp_path, *settings, "fields.bands=image.fits", "fields.pixel_scale=1", "size=31")
    store = open_store(build(made, tmp_path, tmp_path / "out")[0].path)
    assert len(store) == len(places)
    for row, name in enumerate(store.table["object_id"].tolist()):
        (x, y), expected = places[int(name) - 1], flux[int(name) - 1]
        left, bottom = (round(float(f"{v:.4f}")) - 16 for v in (x, y))
        image = store.images(np.array([row]))[0, ::-1, :, 0].astype(float) * 1e-5 * 10 ** (0.4 * 25)
        image -= back[bottom : bottom + 31, left : left + 31]
        found, *_ = sep.sum_circle(np.ascontiguousarray(image), [x - 1 - left], [y - 1 - bottom], 5.0)
        assert found[0] == pytest.approx(expected, rel=2e-3)
        assert store.table["magnitudes"][row, 0] == pytest.approx(25 - 2.5 * np.log10(found[0]), abs=0.003)
