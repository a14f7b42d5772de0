"""Objects that cannot be read: a run stops and names them, or leaves them out and counts them."""

import numpy as np
import pytest
from contracts.stores import damage
from training_toys import ALL, HEAD, make_run, make_store

from hpc_astrossl import names
from hpc_astrossl.errors import InputError
from hpc_astrossl.store import layout, open_store
from hpc_astrossl.training.folder import run_path
from hpc_astrossl.training.run import train

pytestmark = pytest.mark.usefixtures("narrow")


@pytest.fixture
def workdir(tmp_path, monkeypatch):
    """A work directory whose store has a damaged first chunk: rows 0 to 3, two validation and two test objects."""
    monkeypatch.setattr(layout, "CHUNK_BYTES", 4 * 32 * 32 * 3)
    make_store(tmp_path / "toy")
    damage(open_store(tmp_path / "toy"))
    return tmp_path


def test_a_run_stops_and_names_the_chunk_and_its_objects(workdir):
    with pytest.raises(
        InputError, match=r"toy: array images, chunk 0, rows 0\.\.3 \(objects T0000 to T0003\): damaged"
    ):
        train(make_run(HEAD), workdir)


@pytest.mark.parametrize("phase", [HEAD, ALL])
def test_a_run_leaves_them_out_and_counts_them(workdir, phase):
    run = make_run(phase, corrupt="skip")
    result = train(run, workdir)
    assert result["left_out"] == 4
    assert result["objects"] == {"train": 32, "validation": 6, "test": 6}
    folder = run_path(workdir, run.experiment, names.resolved(run).run_id)
    assert not {"T0000", "T0001", "T0002", "T0003"} & set(np.load(folder / "predictions.npz")["object_id"])
    assert "left out 4 objects that cannot be read; the first: " in (folder / "log").read_text()
