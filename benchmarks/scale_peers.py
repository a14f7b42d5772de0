"""What others need for a part of the catalogue stage: ``python benchmarks/scale_peers.py lsdb|astropy FOLDER`` in an
environment that has them (``pip install lsdb astropy``); FOLDER is a release that ``scale.py --folder`` made.

Both read the tables whole, match the spectra within one arcsecond, and do none of the rest of the stage (filters,
duplicates, groups, labels, splits). lsdb's catalogue is made of the table in memory, as its documentation does for
tables that are no HATS catalogue yet.
"""

import json
import resource
import sys
import time
from pathlib import Path


def main() -> None:
    name, folder = sys.argv[1], Path(sys.argv[2])
    begun = time.monotonic(), time.process_time()
    found = {"lsdb": of_lsdb, "astropy": of_astropy}[name](folder)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = time.process_time() - begun[1] + children.ru_utime + children.ru_stime
    print(json.dumps({"peer": name, "version": __import__(name).__version__, "matched": found,
                      "wall_s": round(time.monotonic() - begun[0], 2), "cpu_s": round(cpu, 2),
                      "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}))  # fmt: skip


def of_astropy(folder: Path) -> int:
    """Pairs within the radius, nearest spectrum of each object."""
    from astropy import units
    from astropy.coordinates import SkyCoord
    from astropy.table import Table

    table = Table.read(folder / "catalogue.parquet")
    spectra = Table.read(folder / "spectra.csv", format="ascii.fast_csv")
    places, others = (SkyCoord(one[ra] * units.deg, one[dec] * units.deg)
                      for one, ra, dec in ((table, "RA", "Dec"), (spectra, "ra", "dec")))  # fmt: skip
    at, apart, _ = others.match_to_catalog_sky(places)
    near = apart < 1 * units.arcsec
    joined = table[at[near]]
    joined["class"] = spectra["class"][near]
    return len(joined)


def of_lsdb(folder: Path) -> int:
    """The same by HEALPix partitions."""
    import dask
    import lsdb
    import pandas

    dask.config.set(scheduler="synchronous")  # one process, as the others
    table = pandas.read_parquet(folder / "catalogue.parquet")
    spectra = pandas.read_csv(folder / "spectra.csv")
    one = lsdb.from_dataframe(table, ra_column="RA", dec_column="Dec", catalog_name="catalogue")
    del table
    other = lsdb.from_dataframe(spectra, ra_column="ra", dec_column="dec", catalog_name="spectra",
                                margin_threshold=5)  # fmt: skip
    found = one.crossmatch(other, radius_arcsec=1, n_neighbors=1, suffixes=("_object", "_spectrum"))
    return len(found.compute())


if __name__ == "__main__":
    main()
