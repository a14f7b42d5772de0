"""Our Parquet as a HATS catalogue: hats-import takes it as it is, and lsdb finds each object by its position."""

import numpy as np
import pytest

from hpc_astrossl.store.columns import write_parquet

catalogue = pytest.importorskip("hats_import.catalog.arguments", reason="hats-import is not installed")
lsdb = pytest.importorskip("lsdb", reason="lsdb is not installed")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


def parts(count=400):
    """Three parts of a table as ``embed`` leaves them."""
    random = np.random.default_rng(0)
    for i in range(3):
        yield {"object_id": np.array([f"o{i}-{j}" for j in range(count)]), "label": np.full(count, -1, np.int16),
               "ra": random.uniform(10, 12, count), "dec": random.uniform(-1, 1, count),
               "features": random.normal(size=(count, 512)).astype(np.float32)}  # fmt: skip


def test_features_are_imported_and_crossmatched(tmp_path):
    import pandas as pd
    from dask.distributed import Client
    from hats_import.pipeline import pipeline_with_client

    write_parquet(tmp_path / "sg.parquet", parts(), {"verb": "embed", "run": "x"})
    arguments = catalogue.ImportArguments(
        output_path=tmp_path / "out", output_artifact_name="sg", input_file_list=[tmp_path / "sg.parquet"],
        file_reader="parquet", ra_column="ra", dec_column="dec", pixel_threshold=500, highest_healpix_order=5,
    )  # fmt: skip
    places = pd.concat(pd.DataFrame({name: part[name] for name in ("object_id", "ra", "dec")}) for part in parts())
    near = places.head(900).assign(ra=lambda table: table.ra + 0.1 / 3600)
    with Client(n_workers=1, threads_per_worker=1, memory_limit=None, processes=False) as client:
        pipeline_with_client(arguments, client)
        ours = lsdb.open_catalog(tmp_path / "out" / "sg")
        other = lsdb.from_dataframe(near, ra_column="ra", dec_column="dec")
        found = other.crossmatch(ours, radius_arcsec=1, suffixes=("_there", "_here")).compute()
    assert len(found) == 900
    assert (found["object_id_there"].astype(str) == found["object_id_here"].astype(str)).all()
    whole = {name: row for part in parts() for name, row in zip(part["object_id"], part["features"], strict=True)}
    features = found.filter(like="features").iloc[:, 0]
    for name, row in zip(found["object_id_here"].astype(str).head(20), features.head(20), strict=True):
        np.testing.assert_array_equal(np.asarray(row), whole[name])
