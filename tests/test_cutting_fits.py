"""FITS as surveys deliver it: compressed, scaled, with holes, gzipped; and damage that is named."""

import gzip
import hashlib
import os

import numpy as np
import pytest
from astropy.io import fits as astropy_fits

from hpc_astrossl.cutting import blocksums, fits
from hpc_astrossl.cutting.badfile import BadFile
from hpc_astrossl.errors import InputError

VALUES = np.arange(-30, 30, dtype=np.int32).reshape(6, 10)


def write(path, unit, **options):
    units = [unit] if isinstance(unit, astropy_fits.PrimaryHDU) else [astropy_fits.PrimaryHDU(), unit]
    astropy_fits.HDUList(units).writeto(path, **options)
    return path


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.int32, np.int64, np.float32, np.float64])
@pytest.mark.parametrize("compressed", [False, True])
def test_every_kind_of_number_comes_out_as_native_float32(tmp_path, kind, compressed):
    if compressed and kind == np.int64:
        pytest.skip("FITS does not compress 64-bit integers with RICE")
    values = np.abs(VALUES).astype(kind)
    options = {"compression_type": "GZIP_2", "quantize_level": 0} if np.issubdtype(kind, np.floating) else {}
    unit = astropy_fits.CompImageHDU(values, **options) if compressed else astropy_fits.PrimaryHDU(values)
    image = fits.read_image(write(tmp_path / "a.fits", unit))
    assert image.dtype == np.dtype("=f4")
    np.testing.assert_array_equal(image, values[::-1])


def scaled(compressed: bool, **options):
    """Integers with BSCALE, BZERO and BLANK: value = 0.5 × stored + 100, and -30 stored is no value."""
    unit = astropy_fits.CompImageHDU(VALUES, **options) if compressed else astropy_fits.ImageHDU(VALUES)
    unit.header["BSCALE"], unit.header["BZERO"], unit.header["BLANK"] = 0.5, 100.0, -30
    return unit


@pytest.mark.parametrize("compressed", [False, True])
def test_bscale_bzero_and_blank(tmp_path, compressed):
    expected = np.where(VALUES == -30, np.nan, 0.5 * VALUES + 100)[::-1]
    path = write(tmp_path / "a.fits", scaled(compressed, compression_type="RICE_1"))
    np.testing.assert_array_equal(fits.read_image(path), expected)


def test_pixels_without_a_value_survive_lossy_compression(tmp_path):
    values = np.random.default_rng(0).normal(size=(40, 50)).astype(np.float32)
    values[3, 4] = np.nan
    unit = astropy_fits.CompImageHDU(values, compression_type="RICE_1", quantize_level=16)
    image = fits.read_image(write(tmp_path / "a.fits.fz", unit))[::-1]
    assert np.argwhere(np.isnan(image)).tolist() == [[3, 4]]
    np.testing.assert_allclose(image[values == values], values[values == values], atol=0.1)


def test_a_gzipped_file_is_read_and_its_truncation_named(tmp_path):
    plain = write(tmp_path / "a.fits", astropy_fits.PrimaryHDU(VALUES), checksum=True)
    path = tmp_path / "a.fits.gz"
    data = gzip.compress(plain.read_bytes())
    path.write_bytes(data)
    np.testing.assert_array_equal(fits.read_image(path), VALUES[::-1])
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=r"a\.fits\.gz: damaged"):
        fits.read_image(path)


def test_a_truncated_file_says_how_much_is_there_and_how_much_is_needed(tmp_path):
    noise = np.random.default_rng(0).normal(size=(300, 300)).astype(np.float32)
    unit = astropy_fits.CompImageHDU(noise, compression_type="RICE_1", quantize_level=16)
    path = write(tmp_path / "a.fits.fz", unit)
    whole = path.stat().st_size
    path.write_bytes(path.read_bytes()[: whole - 2881])
    with pytest.raises(InputError, match=rf"a.fits.fz: truncated: {whole - 2881:,} bytes found, {whole:,} needed"):
        fits.read_image(path, checksum=False)


def test_every_flipped_byte_of_compressed_data_is_found(tmp_path):
    noise = np.random.default_rng(0).normal(size=(100, 100)).astype(np.float32)
    unit = astropy_fits.CompImageHDU(noise, compression_type="RICE_1", quantize_level=16)
    path = write(tmp_path / "a.fits.fz", unit, checksum=True)
    with astropy_fits.open(path, disable_image_compression=True) as units:
        place = units[1].fileinfo()
    whole = path.read_bytes()
    for position in np.random.default_rng(1).integers(place["datLoc"], place["datLoc"] + place["datSpan"], 50):
        data = bytearray(whole)
        data[position] ^= 4
        path.write_bytes(data)
        with pytest.raises(InputError, match="do not add up to their DATASUM"):
            fits.read_image(path)


def test_a_file_without_datasum_is_told_apart(tmp_path):
    assert not fits.has_checksum(write(tmp_path / "a.fits", astropy_fits.PrimaryHDU(VALUES)))
    assert fits.has_checksum(write(tmp_path / "b.fits", astropy_fits.PrimaryHDU(VALUES), checksum=True))
    assert fits.has_checksum(write(tmp_path / "c.fits", astropy_fits.CompImageHDU(VALUES), checksum=True))


@pytest.mark.parametrize("length", [0, 100])
def test_what_is_no_fits_file_is_named(tmp_path, length):
    (tmp_path / "a.fits").write_bytes(b"x" * length)
    with pytest.raises(InputError, match=r"a.fits: damaged or not a FITS file"):
        fits.read_image(tmp_path / "a.fits")


class TestReadOnce:
    """A file that is hashed has its DATASUM compared without being read again."""

    @pytest.mark.parametrize("extra", [0, 2880, 100])
    def test_the_hash_is_that_of_the_file(self, tmp_path, extra):
        path = tmp_path / "field.fits"
        astropy_fits.ImageHDU(np.ones((700, 600), np.float32)).writeto(path, checksum=True)
        with path.open("ab") as stream:
            stream.write(bytes(extra))
        assert blocksums.sha256(path) == hashlib.sha256(path.read_bytes()).hexdigest()
        with fits.open_image(path) as image:
            assert image.read(slice(0, 2), slice(0, 2)).tolist() == [[1, 1], [1, 1]]

    @pytest.mark.parametrize("packed", [False, True])
    def test_damage_is_seen(self, tmp_path, packed, monkeypatch):
        pixels = np.random.default_rng(0).normal(0, 1, (700, 600)).astype(np.float32)
        path = tmp_path / "field.fits"
        unit = astropy_fits.CompImageHDU(pixels) if packed else astropy_fits.ImageHDU(pixels)
        unit.writeto(path, checksum=True)
        data = bytearray(path.read_bytes())
        data[-4000] ^= 1
        path.write_bytes(data)
        blocksums.sha256(path)
        monkeypatch.setattr(blocksums, "_summed", lambda *_: pytest.fail("read twice"))
        with pytest.raises(BadFile, match="do not add up to their DATASUM"), fits.open_image(path):
            pass

    def test_a_file_that_changed_since_is_read_again(self, tmp_path):
        path = tmp_path / "field.fits"
        for value in (1, 2):
            astropy_fits.ImageHDU(np.full((70, 60), value, np.float32)).writeto(path, checksum=True, overwrite=True)
            os.utime(path, ns=(value, value))
            if value == 1:
                blocksums.sha256(path)
        with fits.open_image(path) as image:
            assert image.read(slice(0, 1), slice(0, 1)) == 2

    def test_other_files_are_hashed_too(self, tmp_path):
        for data in (b"", b"a picture", b"SIMPLE  =" + bytes(5000)):
            (tmp_path / "file").write_bytes(data)
            assert blocksums.sha256(tmp_path / "file") == hashlib.sha256(data).hexdigest()
