"""A file is what its bytes say: packings are undone or named, the image is chosen or asked for, claims are doubted."""

import bz2
import dataclasses
import gzip
import io
import lzma
import shutil
import subprocess
import time

import numpy as np
import pyarrow as pa
import pytest
from astropy.io import fits as astropy_fits
from ingest_survey import RECIPES, Survey
from sky_survey import catalogue, header, stars, wcs
from sky_survey import recipe as sky_recipe

from hpc_astrossl.cutting import containers, fits, windows
from hpc_astrossl.cutting.badfile import BadFile
from hpc_astrossl.errors import InputError
from hpc_astrossl.ingest import Options, build
from hpc_astrossl.specs.recipe import StoreSpec, load_recipe

VALUES = np.arange(12 * 17, dtype=np.float32).reshape(12, 17)
HTML = b"<!DOCTYPE html><html><body>502 Bad Gateway</body></html>"


def packed_bytes(units) -> bytes:
    stream = io.BytesIO()
    astropy_fits.HDUList(units).writeto(stream)
    return stream.getvalue()


PLAIN = packed_bytes([astropy_fits.PrimaryHDU(VALUES)])
TILED = packed_bytes([astropy_fits.PrimaryHDU(), astropy_fits.CompImageHDU(VALUES, compression_type="GZIP_2",
                                                                            quantize_level=0)])  # fmt: skip


@pytest.mark.parametrize("name", ["a.fits", "a.fz", "a", "a.FITS.GZ", "a.png"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress,
                                  lambda data: gzip.compress(bz2.compress(data))])  # fmt: skip
@pytest.mark.parametrize("data", [PLAIN, TILED], ids=["plain", "tiled"])
def test_a_packing_is_known_by_its_bytes_whatever_the_name(tmp_path, name, pack, data):
    (tmp_path / name).write_bytes(pack(data))
    np.testing.assert_array_equal(fits.read_image(tmp_path / name)[::-1], VALUES)
    assert fits.read_headers(tmp_path / name).shape == VALUES.shape


@pytest.mark.parametrize(
    ("head", "words", "reason"),
    [
        (b"\x1f\x9d\x90", r"a\.fits\.Z: is compressed with compress.*gzip -d a\.fits\.Z", "packed file"),
        (b"\x04\x22\x4d\x18", r"compressed with lz4.*lz4 -d a\.fits\.Z", "packed file"),
        (b"LZIP\x01", r"compressed with lzip.*lzip -d a\.fits\.Z", "packed file"),
        (b"\x28\xb5\x2f\xfd", "damaged or not a FITS file", "unreadable image"),
        (b"PK\x03\x04", r"a zip archive.*unzip a\.fits\.Z", "packed file"),
        (HTML, "an HTML or XML page", "not a FITS file"),
        (b'{"error": "no such tile"}', "JSON or plain text", "not a FITS file"),
        (b"", "it is empty", "empty file"),
        (PLAIN[:300], "its first header has no end", "truncated file"),
        (PLAIN[:2880], r"truncated: 2,880 bytes found, 5,760 needed", "truncated file"),
        (gzip.compress(PLAIN, mtime=0)[:90], "damaged or not a FITS file", "unreadable image"),
    ],
)
def test_what_is_not_read_is_named(tmp_path, head, words, reason):
    (tmp_path / "a.fits.Z").write_bytes(head)
    with pytest.raises(BadFile, match=words) as caught:
        fits.read_image(tmp_path / "a.fits.Z")
    assert caught.value.reason == reason


def test_a_gzipped_field_costs_one_unpacking(tmp_path):
    """Each window once sought through the stream from its beginning."""
    field = np.random.default_rng(0).normal(size=(1500, 1500)).astype(np.float32)
    data = gzip.compress(packed_bytes([astropy_fits.PrimaryHDU(field)]), 1)
    (tmp_path / "a.fits.gz").write_bytes(data)
    start = time.process_time()
    gzip.decompress(data)
    once = time.process_time() - start
    tops, lefts = np.random.default_rng(1).integers(0, 1400, (2, 60))
    start = time.process_time()
    with fits.open_image(tmp_path / "a.fits.gz") as image:
        windows.gather(image, tops, lefts, out := np.zeros((60, 32, 32), np.float32))
    assert time.process_time() - start < 4 * once + 0.5
    np.testing.assert_array_equal(out[7], field[::-1][tops[7] : tops[7] + 32, lefts[7] : lefts[7] + 32])


def zstd(data: bytes) -> bytes:
    return pa.compress(data, "zstd", asbytes=True)


@pytest.mark.parametrize("kind", ["f8", "f4", "i4", "i2", "u2", "u1"])
def test_every_pixel_is_the_same_in_every_packing_and_spelling(tmp_path, kind):
    """As of CFITSIO's testD, testF, testI and testS, which come in four packings each."""
    values = (np.random.default_rng(0).normal(0, 50, (35, 41)) + 100).astype(kind)
    expected = values.astype(np.float32)[::-1]
    tiles = [{"compression_type": "GZIP_2", "quantize_level": 0}, {"compression_type": "GZIP_1", "quantize_level": 0,
              "tile_shape": (35, 41)}]  # fmt: skip
    tiles += [] if kind[0] == "f" else [{"compression_type": name} for name in ("RICE_1", "HCOMPRESS_1")]
    contents = {"plain": packed_bytes([astropy_fits.PrimaryHDU(values)])} | {
        f"tiled{i}": packed_bytes([astropy_fits.PrimaryHDU(), astropy_fits.CompImageHDU(values, **options)])
        for i, options in enumerate(tiles)}  # fmt: skip
    for name, content in contents.items():
        for pack, ends in ((bytes, (".fits", ".fit", ".fz", "")), (gzip.compress, (".fits.gz", ".FITS.GZ", ".fz.gz")),
                           (bz2.compress, (".fits.bz2", ".bz2")), (lzma.compress, (".xz", ".fits")),
                           (zstd, (".fits.zst", ".ZST"))):  # fmt: skip
            for end in ends:
                path = tmp_path / f"{name}{end}"
                path.write_bytes(pack(content))
                np.testing.assert_array_equal(fits.read_image(path), expected, err_msg=f"{kind} {path.name}")


@pytest.mark.skipif(shutil.which("compress") is None, reason="compress (package ncompress) is not installed")
def test_a_file_of_compress_itself_is_named_and_its_command_undoes_it(tmp_path):
    (tmp_path / "a.fits").write_bytes(PLAIN * 3)
    subprocess.run(["compress", "-f", "a.fits"], cwd=tmp_path, check=True)
    with pytest.raises(BadFile, match=r"a\.fits\.Z: is compressed with compress .*gzip -d a\.fits\.Z"):
        fits.read_image(tmp_path / "a.fits.Z")
    subprocess.run(["gzip", "-d", "a.fits.Z"], cwd=tmp_path, check=True)
    assert (tmp_path / "a.fits").read_bytes() == PLAIN * 3


def test_a_packed_field_is_unpacked_for_its_header_and_for_its_pixels_only(tmp_path, monkeypatch):
    """Whatever else is asked of it: footprints, edges, scales, sums."""
    folder = tmp_path / "survey"
    folder.mkdir()
    cards, whole = header((110, 130)), stars((110, 130), [(40, 50), (90, 60)], noise=1.0)
    for name in "AB":
        data = packed_bytes([astropy_fits.PrimaryHDU(whole, cards)])
        (folder / f"{name}_r.fits.gz").write_bytes(gzip.compress(data))
        cards["CRVAL1"] += 1
    cards["CRVAL1"] -= 2
    catalogue(folder, *wcs(cards).all_pix2world([40, 90], [50, 60], 1))
    times, unpack = [], containers._unpacked
    monkeypatch.setattr(containers, "_unpacked", lambda *some: times.append(some) or unpack(*some))
    made = sky_recipe(folder, "fields.bands='{field}_{band}.fits.gz'")
    assert build(made, folder, tmp_path / "out", Options(workers=1))[0].info.counts["kept"] == 2
    assert len(times) == 3  # A's header, B's header, A's pixels


def test_a_large_one_is_unpacked_to_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr(containers, "SPOOL", 1000)
    (tmp_path / "a").write_bytes(gzip.compress(PLAIN))
    np.testing.assert_array_equal(fits.read_image(tmp_path / "a")[::-1], VALUES)


class TestHdu:
    """Of several images one is chosen, never the first taken."""

    def units(self):
        mask = np.ones(VALUES.shape, np.int16)
        table = astropy_fits.BinTableHDU.from_columns([astropy_fits.Column("A", "E", array=[1.0])], name="PSF")
        return [astropy_fits.PrimaryHDU(), astropy_fits.ImageHDU(mask, name="MASK"), table,
                astropy_fits.CompImageHDU(VALUES, name="SCI", compression_type="GZIP_2", quantize_level=0),
                astropy_fits.ImageHDU(VALUES * 2, name="SCI", ver=2)]  # fmt: skip

    def path(self, tmp_path):
        astropy_fits.HDUList(self.units()).writeto(tmp_path / "a.fits")
        return tmp_path / "a.fits"

    @pytest.mark.parametrize(("hdu", "factor"), [(3, 1), ("SCI,1", 1), ("sci,2", 2), (4, 2)])
    def test_by_number_name_or_version(self, tmp_path, hdu, factor):
        np.testing.assert_array_equal(fits.read_image(self.path(tmp_path), hdu=hdu)[::-1], VALUES * factor)

    def test_several_are_listed_and_the_choice_asked_for(self, tmp_path):
        words = r"holds several images: 1 MASK \(17 × 12 int16\); 3 SCI \(17 × 12 float32\); 4 SCI,2 .*hdu: MASK"
        with pytest.raises(InputError, match=words):
            fits.read_image(self.path(tmp_path))

    @pytest.mark.parametrize(
        ("hdu", "words"),
        [("SCI", "several units named 'SCI'"), ("IMG", "has no hdu 'IMG'; it holds: 0 .no data.; 1 MASK"),
         (9, "has no hdu 9"), (2, r"hdu 2 is no two-dimensional image; it holds.* 2 PSF .table."), (0, "hdu 0 is no")],
    )  # fmt: skip
    def test_a_wrong_choice_lists_the_file(self, tmp_path, hdu, words):
        with pytest.raises(InputError, match=words):
            fits.read_image(self.path(tmp_path), hdu=hdu)

    def test_axes_of_length_one_do_not_count(self, tmp_path):
        for n, shape in enumerate([(1, 1, 12, 17), (1, 12, 17), (12, 17, 1)]):
            astropy_fits.PrimaryHDU(VALUES.reshape(shape)).writeto(tmp_path / f"{n}.fits")
            np.testing.assert_array_equal(fits.read_image(tmp_path / f"{n}.fits")[::-1], VALUES)

    def test_a_name_may_hold_the_band(self, tmp_path):
        survey = Survey(tmp_path / "survey", fields=("SIM-1",)).write(bands=True)
        for path in survey.glob("*.fits.fz"):
            with astropy_fits.open(path) as units:
                band, data = path.name.split("_")[1], units[1].data
            extra = astropy_fits.ImageHDU(np.ones_like(data), name="WEIGHT")
            whole = [astropy_fits.PrimaryHDU(), extra, astropy_fits.ImageHDU(data, name=f"IMG_{band}")]
            astropy_fits.HDUList(whole).writeto(path, overwrite=True)
        with pytest.raises(InputError, match="holds several images: 1 WEIGHT"):
            build(recipe(), survey, tmp_path / "a")
        (made,) = build(recipe("fields.hdu='IMG_{band}'"), survey, tmp_path / "b")
        assert made.info.counts["kept"] > 10


def recipe(*settings):
    """One store of bands."""
    whole = load_recipe(RECIPES / "simulated.yaml", ["split={train: 1, validation: 0, test: 0}", "size=16", *settings])
    return dataclasses.replace(whole, stores={"bands": StoreSpec(images="bands")})


@pytest.mark.parametrize("checksum", ["true", "false"])
@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda path: path.unlink(), "no file"),
        (lambda path: path.write_bytes(b""), "empty file"),
        (lambda path: path.write_bytes(HTML), "not a FITS file"),
        (lambda path: path.write_bytes(path.read_bytes()[:1000]), "truncated file"),
        (lambda path: path.write_bytes(path.read_bytes()[:-2881]), "truncated file"),
        (lambda path: claim(path, 200_000), "field unreadable"),
    ],
)
def test_a_bad_field_costs_its_own_objects_only(tmp_path, spoil, reason, checksum):
    """Whatever is wrong, whether sums are compared or not."""
    survey = Survey(tmp_path / "survey", per_field=9).write(bands=True)
    spoil(survey / "SIM-2_R_swp.fits.fz")
    (made,) = build(recipe("fields.unreadable=reject", f"fields.checksum={checksum}"), survey, tmp_path / "out")
    assert made.info.counts["kept"] == 9
    assert made.info.counts["rejected"] == {f"{reason}: SIM-2": 9}
    with pytest.raises(InputError, match="SIM-2_R_swp"):
        build(recipe(f"fields.checksum={checksum}"), survey, tmp_path / "other")


def claim(path, side) -> None:
    """Let the header of a compressed image claim another size, as an edited or damaged one does."""
    with astropy_fits.open(path, disable_image_compression=True, mode="update") as units:
        for key in ("ZNAXIS1", "ZNAXIS2", "ZTILE1", "ZTILE2"):
            units[1].header[key] = side


def test_a_size_that_bytes_cannot_hold_is_refused_before_memory_is_asked_for(tmp_path):
    (tmp_path / "a.fits").write_bytes(TILED)
    claim(tmp_path / "a.fits", 200_000)
    with pytest.raises(InputError, match=r"its header claims 200000 × 200000 pixels in 1 tiles, 12 are there"):
        fits.read_image(tmp_path / "a.fits", checksum=False)
    whole = astropy_fits.CompImageHDU(VALUES, compression_type="GZIP_2", quantize_level=0, tile_shape=VALUES.shape)
    whole.writeto(tmp_path / "b.fits")
    claim(tmp_path / "b.fits", 200_000)
    with pytest.raises(InputError, match=r"claims 200000 × 200000 pixels, which [\d,]+ bytes cannot hold"):
        fits.read_image(tmp_path / "b.fits", checksum=False)
