"""What files claim is doubted before memory is asked for; odd names, full disks and closed pipes end in one message."""

import io
import json
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import zarr
from contracts.stores import make_store
from launch_support import CHECKOUT, astrossl

from hpc_astrossl import config, files, identity, npz, provenance
from hpc_astrossl.cli import main
from hpc_astrossl.errors import EXIT_INPUT, InputError
from hpc_astrossl.explore.explore import Wish, explore
from hpc_astrossl.manifest import write_manifest
from hpc_astrossl.specs import patterns
from hpc_astrossl.store import columns, embedding, encoded
from hpc_astrossl.training import leakage
from hpc_astrossl.training.feature_cache import FeatureCache
from hpc_astrossl.training.parts import Parts, even


def bomb(path, rows=4_000_000):
    """An archive of a few MB whose array would take gigabytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("object_id.npy", "w") as stream:
        np.lib.format.write_array_header_1_0(stream, {"descr": "<U400", "fortran_order": False, "shape": (rows,)})
        for _ in range(100):
            stream.write(bytes(1 << 20))


class TestArrays:
    def test_an_archive_that_claims_gigabytes_is_refused_by_its_header(self, tmp_path):
        bomb(tmp_path / "a.npz")
        with pytest.raises(ValueError, match=r"object_id claims 6\.4 GB, in 0\.1 MB of file"):
            npz.check(tmp_path / "a.npz")

    def test_those_that_are_what_they_claim_are_taken(self, tmp_path):
        np.savez_compressed(tmp_path / "a.npz", ids=np.array(["T0001"] * 900_000), zeros=np.zeros(9))
        npz.check(tmp_path / "a.npz")
        assert npz.header(zipfile.ZipFile(tmp_path / "a.npz"), "ids.npy")[0] == (900_000,)

    def test_every_reader_of_archives_looks_at_their_headers(self, tmp_path):
        bomb(tmp_path / "part-000000.npz")
        with pytest.raises(InputError, match=r"damaged .object_id claims"):
            next(Parts(tmp_path, even(8, 8), {}).read())
        with pytest.raises(InputError, match=r"cannot be read as npz .object_id claims"):
            columns.read_table(tmp_path / "part-000000.npz")
        made = identity.Made.of({"run_id": "r"})
        (tmp_path / "part-000000.npz").rename(tmp_path / "objects.npz")
        with pytest.raises(InputError, match=r"damaged or not there .object_id claims"):
            leakage.seen_by(tmp_path, made, provenance.sha256(tmp_path / "objects.npz"), tmp_path)

    @pytest.mark.parametrize("values", [np.zeros((3, 4), "f4"), np.zeros(8, "f4"), None])
    def test_a_segment_of_features_that_claims_more_than_there_is_counts_as_damaged(self, tmp_path, values):
        said = []
        cache = FeatureCache(tmp_path, {"a": 1}, said.append)
        cache.write(np.arange(8), np.zeros((8, 4), dtype=np.float32), 0)
        (segment,) = cache.folder.glob("view0-*.npz")
        if values is None:
            bomb(segment)
        else:
            np.savez(segment, rows=np.arange(8), values=values)
        assert not cache.read(np.arange(8), 0)[0].any()
        assert "damaged" in said[0]
        assert "are computed again" in said[0]

    @pytest.mark.parametrize(("name", "shape"), [("features", [100_000_000_000, 512]), ("label", [100_000_000_000])])
    def test_an_embedding_that_claims_terabytes_is_refused(self, tmp_path, name, shape):
        self._embedding(tmp_path / "e.zarr", name, shape)
        with pytest.raises(InputError, match=f"damaged embedding .{name} claims shape"):
            embedding.open_embedding(tmp_path / "e.zarr")

    def test_an_embedding_whose_columns_differ_in_length_is_refused(self, tmp_path):
        self._embedding(tmp_path / "e.zarr", "label", [7])
        with pytest.raises(InputError, match="its arrays differ in length"):
            embedding.open_embedding(tmp_path / "e.zarr")

    @staticmethod
    def _embedding(path, name, shape):
        part = {"object_id": np.array(["a"] * 8), "features": np.ones((8, 512), "f4"), "label": np.zeros(8, "i2")}
        embedding.write(path, [part], rows=8, about={})
        file = path / name / "zarr.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"shape": shape}))

    @pytest.mark.parametrize("key", ["shape", "chunk_shape"])
    def test_a_store_that_claims_terabytes_is_refused(self, tmp_path, key):
        path = make_store(tmp_path / "s.zarr", rows=20, shape=(8, 8, 3), dtype="uint8").path
        for name in ("images", "ra"):
            text = (path / name / "zarr.json").read_text()
            (path / name / "zarr.json").write_text(text.replace('"shape": [\n    20', '"shape": [\n    100000000000'))
        (path / "images/manifest.json").unlink()
        write_manifest(path, [])
        assert zarr.open_group(path, mode="r")["ra"].shape == (100_000_000_000,)
        for verb in (["info"], ["check"], ["check", "--deep"]):
            done = astrossl(verb[0], str(path), *verb[1:], cwd=tmp_path)
            assert done.returncode in (1, 2)
            assert "claims shape (100000000000" in done.stderr + done.stdout
            assert "Traceback" not in done.stderr

    def test_a_kept_picture_of_another_size_is_refused_by_its_header(self):
        from PIL import Image

        buffer = io.BytesIO()
        Image.new("L", (9000, 9000)).save(buffer, "png")
        data = buffer.getvalue()
        rows = encoded.pack([data], encoded.row_bytes(len(data)))
        kind = encoded.Encoding(format="png", height=8, width=8)
        with pytest.raises(ValueError, match="an image of 9000 × 9000, expected"):
            encoded.decode(rows[0], kind, np.empty((8, 8, 3), np.uint8))


class TestNames:
    @pytest.mark.parametrize("values", [("evil", ".", "./secret"), ("x", "", "/../../s"), ("x", "..", "a")])
    def test_words_that_lead_out_of_the_source_only_together_are_refused(self, values):
        named = dict(zip(("id", "pre", "name"), values, strict=True))
        with pytest.raises(InputError, match="lead out of the folder given as --source"):
            patterns.place(Path("source"), "{pre}{name}.png", named)

    def test_an_empty_word_does_not_make_a_path_absolute(self):
        with pytest.raises(InputError, match="lead out of the folder"):
            patterns.place(Path("source"), "{folder}/etc/{name}", {"folder": "", "name": "passwd"})
        assert patterns.place(Path("s"), "../{a}..b/{c}", {"a": "x", "c": "y"}) == Path("s/../x..b/y")


class TestCells:
    @pytest.mark.parametrize("text", ["=1+1", "+cmd", "-x", "@sum", "\t=1", " =1", "\r=1"])
    def test_a_formula_is_shown_as_text_and_read_back(self, text):
        line = files.rows_as_csv([[text, 3, 0.5]])
        assert line.lstrip('"').startswith("'")
        assert files.cell_text(files.plain_cell(text)) == text

    @pytest.mark.parametrize("text", ["-12", "+1.5e-3", "-inf", "SDSS J1-2", "a=b", "", "'quoted'"])
    def test_numbers_and_names_stay(self, text):
        assert files.plain_cell(text) == text
        assert files.cell_text(text) == text


def test_the_time_for_a_mapping_grows_with_its_keys_not_their_square():
    text = "".join(f"k{number}: 1\n" for number in range(20_000))
    begin = time.process_time()
    assert len(config.safe_yaml(text, "x")) == 20_000
    twice = time.process_time() - begin
    begin = time.process_time()
    config.safe_yaml("".join(text.splitlines(keepends=True)[:5_000]), "x")
    assert twice < 12 * (time.process_time() - begin)
    with pytest.raises(InputError, match="key 'k1' is repeated"):
        config.safe_yaml("k1: 1\nk2: 2\nk1: 3\n", "x")


def test_features_that_are_no_numbers_are_named_by_explore(tmp_path):
    features = np.ones((5, 4), np.float32)
    features[3, 1] = np.nan
    columns = {"object_id": np.array(list("abcde")), "label": np.zeros(5, np.int16), "features": features}
    embedding.write(tmp_path / "e.zarr", [columns], rows=5, about={"class_names": []})
    with pytest.raises(InputError, match="features of 1 objects are not finite, first d"):
        explore(Wish(embedding=str(tmp_path / "e.zarr"), out=str(tmp_path / "out"), anyway=True))


class TestOutput:
    def run(self, words, **more):
        variables = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
        return subprocess.run([sys.executable, "-m", "hpc_astrossl", *words], env=variables, stderr=subprocess.PIPE,
                              text=True, **more)  # fmt: skip

    def test_a_full_disk_under_standard_output_is_one_line(self, tmp_path):
        store = make_store(tmp_path / "s.zarr", rows=20, shape=(8, 8, 3), dtype="uint8").path
        with open("/dev/full", "w") as full:
            done = self.run(["info", str(store)], stdout=full)
        assert done.returncode == 1
        assert "No space left on device; make room" in done.stderr
        assert "Traceback" not in done.stderr
        assert "Exception ignored" not in done.stderr

    def test_a_closed_standard_output_is_no_fault(self):
        done = self.run(["weights", "list"], preexec_fn=lambda: os.close(1))
        assert "Traceback" not in done.stderr

    def test_a_name_that_is_no_text_is_printed(self, capsys):
        assert main(["info", os.fsdecode(b"caf\xe9.zarr")]) == EXIT_INPUT
        assert "no such store" in capsys.readouterr().err

    @pytest.mark.parametrize("verb", [["info"], ["check"], ["train"], ["plan"]])
    def test_a_name_that_is_too_long_is_one_message(self, verb, capsys):
        assert main([*verb, "x" * 300]) == EXIT_INPUT
        assert capsys.readouterr().err.count("\n") == 1
