"""One pixel scale for all images of a store that are cut from fields: asked of the headers before any field is cut,
and of what was cut when the store is finished, since a field may be replaced in between."""

import numpy as np

from hpc_astrossl.cutting.cutouts import open_source
from hpc_astrossl.cutting.sky import ARCSEC
from hpc_astrossl.errors import InputError
from hpc_astrossl.ingest.planning import Draft
from hpc_astrossl.ingest.plans import Job
from hpc_astrossl.store import REJECTED

DIFFER = 0.02  # relatively: so much do pixels of one image differ, too, by its projection
ASKED = 64  # objects of a field at whose places it is asked
CURE = ("so objects of one size differ in them; bring all to one scale, fields.resample: {pixel_scale: …}, or leave "
        "those fields out")  # fmt: skip


def ahead(draft: Draft) -> None:
    """InputError for a store whose fields have pixels of different sizes, by their headers."""
    recipe, objects, found = draft.recipe, draft.objects, {}
    if recipe.fields is None or recipe.fields.resample is not None:
        return
    cutter = open_source(recipe, draft.folder, objects, draft.images)
    for unit in cutter.units(draft.rows):
        rows = np.sort(unit.rows)
        rows = rows[np.unique(np.linspace(0, len(rows) - 1, ASKED).astype(np.int64))]
        scales = cutter.scales(unit, objects.x[rows], objects.y[rows])
        if (known := np.sort(scales[np.isfinite(scales)])).size:
            found[unit.name] = known[len(known) // 2]
    if differ(np.array(list(found.values()))):
        first, last = (pick(found, key=found.get) for pick in (min, max))
        raise InputError(f"store {draft.name}: its fields have pixels of {found[first]:.4g} arcsec ({first}) to "
                         f"{found[last]:.4g} ({last}), {CURE}")  # fmt: skip


def differ(scales: np.ndarray) -> bool:
    """Whether pixel scales, NaN where one is unknown, are more than one."""
    known = scales[np.isfinite(scales)]
    return len(known) > 0 and bool(known.max() > known.min() * (1 + DIFFER))


def afterwards(job: Job, facts: dict[str, np.ndarray], split: np.ndarray) -> list[str]:
    """What is to be said of images whose headers give them pixels of different sizes; InputError where they were cut
    from fields, of which one scale is recorded for all."""
    images, wcs = job.recipe.images, facts.get("wcs")
    if images is None or images.resample is not None or wcs is None:
        return []
    scale = np.sqrt(np.abs(np.linalg.det(wcs[:, 2:].reshape(-1, 2, 2)))) * ARCSEC
    scale[split == REJECTED] = np.nan
    if job.recipe.fields is not None:  # within one field it changes where the projection does, at each object's place
        scale = _of_fields(scale, job.column("field"))
    if not differ(scale):
        return []
    first, last = (int(pick(scale)) for pick in (np.nanargmin, np.nanargmax))
    ids = job.column("object_id")
    words = (
        f"its images have pixels of {scale[first]:.4g} arcsec (object {ids[first]}) to {scale[last]:.4g} "
        f"(object {ids[last]})"
    )
    if job.recipe.fields is None:
        return [f"{job.name}: {words}; cutouts.resample brings them to one scale"]
    raise InputError(f"store {job.name}: {words}, {CURE}, and say --overwrite")


def _of_fields(scale: np.ndarray, field: np.ndarray) -> np.ndarray:
    """The middle scale of each object's field, NaN for objects without one."""
    known = np.flatnonzero(np.isfinite(scale))
    _, field = np.unique(field[known], return_inverse=True)
    order = np.lexsort((scale[known], field))
    first = np.searchsorted(field[order], np.arange(field.max(initial=-1) + 2))
    middle = scale[known][order][(first[:-1] + first[1:]) // 2]
    found = np.full_like(scale, np.nan)
    found[known] = middle[field]
    return found
