"""A small synthetic survey, read as a user would: files, columns, bytes, and whether the sky in it makes sense."""

import json
import shutil

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from PIL import Image

from hpc_astrossl import cli
from hpc_astrossl.errors import InputError
from hpc_astrossl.simulate import photometry
from hpc_astrossl.simulate.bands import COLUMNS, NAMES, file_name
from hpc_astrossl.simulate.survey import simulate
from hpc_astrossl.specs.simulation import SurveySpec

SPEC = SurveySpec(fields=1, objects=90, size=640, seed=5)
TINY = SurveySpec(fields=1, objects=8, size=128, seed=1)
TWO_FIELDS = SurveySpec(fields=2, objects=8, size=128, seed=1)


def quiet(line: str) -> None:
    """Progress lines are not wanted here."""


def table(path) -> dict[str, np.ndarray]:
    """Columns of a catalogue (spaces, '#' header) or of a CSV file, as text."""
    head, *rows = path.read_text().splitlines()
    separator = "," if path.suffix == ".csv" else None
    names = head.lstrip("# ").split(separator)
    return dict(zip(names, np.array([row.split(separator) for row in rows]).T, strict=True))


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulate") / "survey"
    simulate(folder, SPEC, 1, quiet)
    return folder


@pytest.fixture(scope="module")
def matched(survey):
    """Catalogue and truth row by row (as numbers where they are), unflagged sources within 1 px of one object only."""
    catalogue, truth = table(survey / "master_catalog.cat"), table(survey / "truth.csv")
    x, y = catalogue["X"].astype(float), catalogue["Y"].astype(float)
    distance = np.hypot(x[:, None] - truth["X"].astype(float), y[:, None] - truth["Y"].astype(float))
    rows = np.flatnonzero(
        (distance.min(axis=1) < 1) & ((distance < 15).sum(axis=1) == 1) & (catalogue["PhotoFlag"] == "0")
    )
    nearest = distance.argmin(axis=1)[rows]
    merged = {f"true_{name}": values[nearest] for name, values in truth.items()}
    merged |= {name: values[rows] for name, values in catalogue.items()}
    return {k: v if k in ("ID", "true_class", "true_field") else v.astype(float) for k, v in merged.items()}


def test_files_and_catalogue_columns_of_dr1(survey):
    images = {f"SIM-0001_{band}_swp.fits.fz" for band in ("U", "G", "R", "I", "Z")}
    images |= {f"SIM-0001_F{band}_swp.fits.fz" for band in (378, 395, 410, 430, 515, 660, 861)}
    tables = {"SIM-0001_ZP.cat", "SIM-0001_trilogy.png", "master_catalog.cat", "spec.csv", "truth.csv"}
    assert {path.name for path in survey.iterdir()} == images | tables | {"simulation.json"}
    line = (survey / "master_catalog.cat").read_text().splitlines()[0]
    assert line.startswith(
        "# ID RA Dec X Y ISOarea s2nDet PhotoFlag FWHM MUMAX A B THETA FlRadDet KrRadDet nDet_auto "
        "uJAVA_auto euJAVA_auto s2n_uJAVA_auto uJAVA_petro euJAVA_petro s2n_uJAVA_petro uJAVA_aper "
    )
    first = line.split()
    assert len(first) == 17 + 12 * 9
    assert first[-3:] == ["z_aper", "ez_aper", "s2n_z_aper"]
    rows = [line.split() for line in (survey / "master_catalog.cat").read_text().splitlines()[1:]]
    assert {len(row) for row in rows} == {len(first) - 1}
    assert rows[0][0] == "SPLUS.SIM-0001.00001.griz"
    assert np.isfinite(np.array([row[1:] for row in rows], dtype=float)).all()


def test_zero_points_and_headers_read_like_a_coadd(survey):
    lines = (survey / "SIM-0001_ZP.cat").read_text().splitlines()
    assert lines[0] == "# FILTER ZP"
    assert [line.split()[0] for line in lines[1:]] == list(COLUMNS)
    for band in NAMES:
        with fits.open(survey / file_name("SIM-0001", band)) as hdus:
            assert len(hdus) == 2
            assert hdus[0].data is None
            assert (hdus[1].data.dtype.kind, hdus[1].data.dtype.itemsize) == ("f", 4)
            header = hdus[1].header
            assert hdus[1].shape == (SPEC.size, SPEC.size)
            assert (header["FILTER"], header["OBJECT"], header["EXPTIME"]) == (band, "SIM-0001", 1.0)
            assert header["GAIN"] > 1
            assert header["CD2_2"] == pytest.approx(0.55 / 3600)
        raw = fits.getheader(survey / file_name("SIM-0001", band), 1, disable_image_compression=True)
        assert raw["ZCMPTYPE"] == "RICE_1"


def test_the_sky_position_of_a_source_is_the_header_s(survey):
    catalogue = table(survey / "master_catalog.cat")
    sky = WCS(fits.getheader(survey / file_name("SIM-0001", "R"), 1))
    ra, dec = sky.all_pix2world(catalogue["X"].astype(float), catalogue["Y"].astype(float), 1)
    assert np.abs(ra - catalogue["RA"].astype(float)).max() < 2e-6
    assert np.abs(dec - catalogue["Dec"].astype(float)).max() < 2e-6


def test_measured_magnitudes_agree_with_the_truth(matched):
    point = (matched["true_class"] != "GALAXY") & (matched["true_r"] < 18)
    assert point.sum() > 10
    offset = (matched["r_auto"] - matched["true_r"])[point]
    assert np.abs(offset).max() < 0.12
    assert np.median(offset) > 0.01  # a Kron aperture loses light; it would not if the truth had leaked
    galaxies = (matched["true_class"] == "GALAXY") & (matched["true_r"] < 18)
    assert galaxies.sum() > 5
    assert abs(np.median((matched["r_auto"] - matched["true_r"])[galaxies])) < 0.2
    for band in COLUMNS:
        good = (matched["true_class"] != "GALAXY") & (matched[f"e{band}_auto"] < 0.03)
        assert good.sum() > 5
        assert abs(np.median((matched[f"{band}_auto"] - matched[f"true_{band}"])[good])) < 0.12


def test_quasars_have_the_size_of_stars_and_another_colour(matched):
    bright = matched["true_r"] < 18.5
    star, quasar, galaxy = (bright & (matched["true_class"] == kind) for kind in ("STAR", "QSO", "GALAXY"))
    assert min(star.sum(), quasar.sum(), galaxy.sum()) > 4
    fwhm, colour = matched["FWHM"], matched["uJAVA_auto"] - matched["r_auto"]
    assert np.median(fwhm[quasar]) == pytest.approx(np.median(fwhm[star]), rel=0.05)
    assert np.median(fwhm[galaxy]) > 1.5 * np.median(fwhm[star])
    assert np.median(colour[quasar]) < np.median(colour[star]) - 1


def test_faint_objects_are_uncertain_and_some_are_undetected(survey):
    catalogue = table(survey / "master_catalog.cat")
    magnitude, error = (
        np.stack([catalogue[f"{e}{band}_auto"].astype(float) for band in COLUMNS], 1) for e in ("", "e")
    )
    undetected = magnitude == 99
    assert (undetected == (error == 99)).all()
    assert 0.02 < undetected[:, COLUMNS.index("F395")].mean() < 0.5
    assert (undetected.sum(axis=1) == 12 - catalogue["nDet_auto"].astype(int)).all()
    for band in range(12):
        seen = ~undetected[:, band]
        faint = magnitude[seen, band] > np.median(magnitude[seen, band])
        assert np.median(error[seen, band][faint]) > 2 * np.median(error[seen, band][~faint])
    assert 0.4 < (error <= 0.1).all(axis=1).mean() < 0.75


def test_the_errors_are_as_large_as_they_say(matched):
    """Fixed apertures of isolated point sources: measured minus true scatters by the stated error."""
    pulls = []
    for band in COLUMNS:
        error = matched[f"e{band}_aper"]
        point = (matched["true_class"] != "GALAXY") & (error < 0.2)
        offset = matched[f"{band}_aper"] - matched[f"true_{band}"]
        lost = np.median(offset[point & (error < 0.05)])  # the light outside of the aperture
        pulls.append(((offset - lost) / error)[point & (error > 0.01)])
    pulls = np.concatenate(pulls)
    assert len(pulls) > 150
    assert 0.75 < 1.4826 * np.median(np.abs(pulls)) < 1.3


def test_the_picture_is_the_fits_array_upside_down(survey):
    picture = np.array(Image.open(survey / "SIM-0001_trilogy.png")).astype(float)
    image = fits.getdata(survey / file_name("SIM-0001", "R"), 1)
    assert picture.shape == (SPEC.size, SPEC.size, 3)
    catalogue = table(survey / "master_catalog.cat")
    for row in np.argsort(catalogue["r_aper"].astype(float))[:5]:
        x, y = round(float(catalogue["X"][row])), round(float(catalogue["Y"][row]))
        assert picture[SPEC.size - y, x - 1].max() > 200
    flat, upside_down = picture.sum(axis=2).ravel(), np.arcsinh(np.flipud(image)).ravel()
    assert np.corrcoef(flat, upside_down)[0, 1] > 0.7
    assert np.corrcoef(flat, np.arcsinh(image).ravel())[0, 1] < 0.2


def test_spectra_of_a_part_of_the_objects_and_of_nothing(survey):
    spectra, truth = table(survey / "spec.csv"), table(survey / "truth.csv")
    assert list(spectra) == ["ra", "dec", "class", "redshift", "zWarning"]
    assert set(spectra["class"]) == {"STAR", "GALAXY", "QSO"}
    east = (spectra["ra"].astype(float)[:, None] - truth["ra"].astype(float) + 180) % 360 - 180
    north = spectra["dec"].astype(float)[:, None] - truth["dec"].astype(float)
    distance = 3600 * np.hypot(east, north)
    nearest, of = distance.min(axis=1), distance.argmin(axis=1)
    empty = nearest > 3
    assert 1 <= empty.sum() < 0.1 * len(empty)
    assert nearest[~empty].max() < 0.6
    assert 0.05 < np.median(nearest[~empty]) < 0.2
    assert (spectra["class"][~empty] == truth["class"][of[~empty]]).all()
    assert 0.25 < (~empty).sum() / SPEC.objects < 0.6


@pytest.fixture(scope="module")
def two_fields(tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulate") / "two"
    simulate(folder, TWO_FIELDS, 1, quiet)
    return folder


def test_same_seed_same_bytes_whatever_the_workers(two_fields, tmp_path):
    simulate(tmp_path / "again", TWO_FIELDS, 2, quiet)
    names = sorted(path.name for path in two_fields.iterdir())
    assert names == sorted(path.name for path in (tmp_path / "again").iterdir())
    differing = [name for name in names if (two_fields / name).read_bytes() != (tmp_path / "again" / name).read_bytes()]
    assert differing == []


def test_another_seed_changes_every_file(two_fields, tmp_path):
    simulate(tmp_path / "other", SurveySpec(fields=1, objects=8, size=128, seed=2), 1, quiet)
    files = list((tmp_path / "other").iterdir())
    assert [path.name for path in files if path.read_bytes() == (two_fields / path.name).read_bytes()] == []


def test_two_fields_differ_and_share_one_catalogue(two_fields):
    one, other = (fits.getdata(two_fields / file_name(field, "R"), 1) for field in TWO_FIELDS.names)
    assert not np.array_equal(one, other)
    names = table(two_fields / "master_catalog.cat")["ID"]
    assert {name.split(".")[1] for name in names} == {"SIM-0001", "SIM-0002"}
    assert len(set(names)) == len(names)


def test_the_catalogue_comes_from_the_files_alone(survey, tmp_path):
    """Measured in a folder that holds coadds and zero points only, it is the same text."""
    for path in [*survey.glob("*.fz"), survey / "SIM-0001_ZP.cat"]:
        (tmp_path / path.name).symlink_to(path)
    lines = [photometry.header(), *photometry.measure(tmp_path, "SIM-0001")]
    assert "\n".join(lines) + "\n" == (survey / "master_catalog.cat").read_text()


def test_a_second_run_finds_the_survey_and_another_is_refused(tmp_path, capsys):
    command = ["simulate", str(tmp_path / "s"), "--fields", "1", "--objects", "8", "--size", "128", "--workers", "1"]
    assert cli.main(command) == 0
    first = capsys.readouterr()
    assert "measured 1/1 fields" in first.err
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "s").iterdir()}
    assert cli.main(command) == 0
    second = capsys.readouterr()
    assert "already holds this survey" in second.err
    assert first.out == second.out
    assert before == {path.name: path.stat().st_mtime_ns for path in (tmp_path / "s").iterdir()}
    assert cli.main([*command, "--seed", "9"]) == 2
    message = capsys.readouterr().err
    assert str(tmp_path / "s") in message
    assert "exists and is another simulated survey; choose another folder, or remove this one" in message


def test_an_incomplete_or_foreign_folder_is_refused(two_fields, tmp_path):
    shutil.copytree(two_fields, tmp_path / "s")
    assert simulate(tmp_path / "s", TWO_FIELDS, 1, quiet)["drawn"] == 16
    (tmp_path / "s" / "SIM-0002_Z_swp.fits.fz").unlink()
    with pytest.raises(InputError, match="exists and is not a complete simulated survey; choose another folder"):
        simulate(tmp_path / "s", TWO_FIELDS, 1, quiet)
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(InputError, match="notes: exists and is not a complete simulated survey"):
        simulate(tmp_path / "notes", TINY, 1, quiet)
    assert (tmp_path / "notes").read_text() == "mine"


def test_nothing_is_visible_before_the_end_and_a_dead_attempt_is_replaced(tmp_path):
    class Killed(Exception):
        pass

    def kill(line: str) -> None:
        assert not (tmp_path / "s").exists()
        raise Killed

    with pytest.raises(Killed):
        simulate(tmp_path / "s", TINY, 1, kill)
    assert (tmp_path / "s.partial").exists()
    assert not (tmp_path / "s").exists()
    (tmp_path / "s.partial" / "rubbish").write_text("of an attempt that died")
    counts = simulate(tmp_path / "s", TINY, 1, quiet)
    assert not (tmp_path / "s.partial").exists()
    record = json.loads((tmp_path / "s" / "simulation.json").read_text())
    assert record["counts"] == counts
    assert "rubbish" not in record["files"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--fields", "0"], "fields must be 1 to 1000, found 0"),
        (["--objects", "100", "--size", "128"], "a field of 128 px has room for 28 objects, found 100"),
        (["--size", "20"], "size must be 128 to 12000 px, found 20"),
        (["--seed", "-1"], "seed must not be negative, found -1"),
        (["--workers", "0"], "--workers must be at least 1, found 0"),
    ],
)
def test_bad_numbers_are_named(options, words, tmp_path, capsys):
    assert cli.main(["simulate", str(tmp_path / "s"), *options]) == 2
    assert words in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_place_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file/s: cannot be written \(Not a directory\); choose another folder"):
        simulate(tmp_path / "file" / "s", TINY, 1, quiet)
