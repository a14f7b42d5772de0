"""The contact sheet: a flipped y or a swapped band cannot hide in it."""

import numpy as np
import pytest
from PIL import Image

from hpc_astrossl import cli
from hpc_astrossl.cutting import contact
from hpc_astrossl.store import REJECTED, StoreInfo, create, open_store

MAGNITUDES = [17.0, 15.0, np.nan, 16.0, 14.0, 18.0]  # of objects 0 to 5
LABELS = [0, 0, 0, 1, 1, -1]
PANEL = 96  # 16 pixels, enlarged six times


def make(path, images, channels, classes=("star", "galaxy"), rejected=()):
    """A store of six objects with r magnitudes; its path."""
    writer = create(path, shape=images.shape, dtype=images.dtype, bands=1)
    writer.write_images(0, images)
    magnitudes = np.array(MAGNITUDES)[:, None]
    writer.write_table({
        "object_id": np.array([f"o{row}" for row in range(6)], dtype=object), "ra": np.zeros(6), "dec": np.zeros(6),
        "split": np.where(np.isin(range(6), rejected), REJECTED, 0).astype(np.uint8),
        "label": np.array(LABELS if classes else [-1] * 6, np.int16),
        "magnitudes": magnitudes, "magnitude_errors": magnitudes * 0,
    })  # fmt: skip
    info = StoreInfo(name="toy", survey="none", release="0", bands=("r",), channels=channels, class_names=classes,
                     pixel_scale=None, counts={"kept": 6}, recipe={})  # fmt: skip
    return writer.finish(info)


def colour_store(path, **options):
    """Top half red, bottom half blue, the right quarter of object n brighter green by n."""
    images = np.zeros((6, 16, 16, 3), np.uint8)
    images[:, :8, :, 0] = images[:, 8:, :, 2] = 200
    images[:, :, 12:, 1] = 20 * np.arange(6)[:, None, None]
    return make(path, images, ("red", "green", "blue"), **options)


def panel(sheet, row, column, lines=3):
    """The pixels of a panel, (PANEL, PANEL, 3)."""
    top = contact.TITLE + row * (PANEL + lines * contact.LINE + contact.GAP)
    left = contact.GAP + column * (PANEL + contact.GAP)
    return sheet[top : top + PANEL, left : left + PANEL]


def drawn(store, tmp_path):
    assert cli.main(["info", str(store), "--image", str(tmp_path / "sheet.png")]) == 0
    return np.asarray(Image.open(tmp_path / "sheet.png"))


def test_colours_are_shown_as_stored_a_row_a_class_bright_first(tmp_path):
    sheet = drawn(colour_store(tmp_path / "a.zarr"), tmp_path)
    shown = [[int(panel(sheet, row, column)[0, -1, 1]) // 20 for column in range(n)] for row, n in enumerate((2, 2, 1))]
    assert shown == [[1, 0], [4, 3], [5]]  # object 2 has no magnitude; the last row has no class
    first = panel(sheet, 0, 0)
    assert first[0, 0].tolist() == first[47, 71].tolist() == [200, 0, 0]
    assert first[48, 0].tolist() == first[95, 71].tolist() == [0, 0, 200]


def test_every_band_of_an_object_has_a_panel_by_one_stretch(tmp_path):
    images = np.random.default_rng(0).normal(size=(6, 16, 16, 4)).astype(np.float32)
    for channel, brightness in enumerate((400, 100, 25, 0)):
        images[:, 2:4, 12:14, channel] += brightness  # high up, to the right
    sheet = drawn(make(tmp_path / "a.zarr", images, ("u", "g", "r", "i")), tmp_path)
    for row in range(5):
        peaks = [panel(sheet, row, column)[12:24, 72:84].mean() for column in range(1, 5)]
        assert peaks[0] > 240
        assert peaks == sorted(peaks, reverse=True)
        assert panel(sheet, row, 1)[48:].mean() < 80
        red, green, blue = panel(sheet, row, 0)[12:24, 72:84].mean(axis=(0, 1))
        assert blue > green > red  # i, r, u


def test_objects_without_an_image_are_not_drawn_nor_counted(tmp_path, capsys):
    sheet = drawn(colour_store(tmp_path / "a.zarr", rejected=(1, 3, 4)), tmp_path)
    assert "2 of 3 objects drawn" in capsys.readouterr().err  # the third has no magnitude
    assert int(panel(sheet, 0, 0)[0, -1, 1]) // 20 == 0
    assert int(panel(sheet, 1, 0)[0, -1, 1]) // 20 == 5  # the class that has none left has no row


def test_one_band_is_one_panel(tmp_path):
    images = np.random.default_rng(0).normal(size=(6, 16, 16, 1)).astype(np.float32)
    sheet = drawn(make(tmp_path / "a.zarr", images, ("g",)), tmp_path)
    assert panel(sheet, 0, 0).std() > 20
    assert (panel(sheet, 0, 1)[:, :-8] == 255).all()


def test_without_classes_there_is_one_row(tmp_path):
    sheet = drawn(colour_store(tmp_path / "a.zarr", classes=()), tmp_path)
    assert sheet.shape[0] == contact.TITLE + PANEL + 3 * contact.LINE + contact.GAP
    assert [int(panel(sheet, 0, column)[0, -1, 1]) // 20 for column in range(5)] == [4, 1, 3, 0, 5]


def test_bands_without_a_value_or_without_light_are_drawn(tmp_path):
    images = np.zeros((6, 16, 16, 4), np.float32)
    images[0, :, :, 1] = np.nan
    assert drawn(make(tmp_path / "a.zarr", images, ("u", "g", "r", "i")), tmp_path).shape[2] == 3


@pytest.mark.parametrize(("name", "words"), [("sheet.jpg", "a name that ends in .png"), ("no/sheet.png", "cannot be")])
def test_a_file_that_cannot_be_written_is_named(tmp_path, name, words, capsys):
    store = colour_store(tmp_path / "a.zarr")
    assert cli.main(["info", str(store), "--image", str(tmp_path / name)]) == 2
    assert words in capsys.readouterr().err


def test_a_sheet_replaces_a_sheet_and_no_other_picture(tmp_path, capsys):
    store, sheet = str(colour_store(tmp_path / "a.zarr")), tmp_path / "sheet.png"
    for _ in range(2):
        assert cli.main(["info", store, "--image", str(sheet)]) == 0
    Image.new("RGB", (8, 8)).save(sheet)
    mine = sheet.read_bytes()
    assert cli.main(["info", store, "--image", str(sheet)]) == 2
    assert "is no contact sheet" in capsys.readouterr().err
    assert sheet.read_bytes() == mine


def test_of_many_rows_some_stretches_are_looked_at(tmp_path, monkeypatch):
    store = open_store(colour_store(tmp_path / "a.zarr"))
    assert [part.tolist() for part in contact._looked_at(store)[:2]] == [[0, 1, 2, 3, 4, 5], LABELS]
    monkeypatch.setattr(contact, "MOST", 4)
    monkeypatch.setattr(contact, "STRETCH_ROWS", 2)
    rows, labels, magnitudes = contact._looked_at(store)
    assert (rows.tolist(), labels.tolist()) == ([0, 1, 4, 5], [0, 0, 1, -1])
    assert magnitudes.tolist() == [17, 15, 14, 18]
    assert [group.tolist() for group in contact._groups(store, 4)] == [[1, 0], [4], [5]]
    assert not store.table._read  # no column is kept
