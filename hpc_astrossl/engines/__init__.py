"""Engines: how ranks find each other, agree on gradients and gather results. ``names.ENGINES`` lists them."""

from hpc_astrossl.engines.choice import choose
from hpc_astrossl.engines.engine import Engine
from hpc_astrossl.names import ENGINES, resolve

__all__ = ["Engine", "choose", "open_engine"]


def open_engine(name: str = "auto", device: str = "auto") -> Engine:
    """Start the engine of that name, or of the launcher's choice for "auto" (see ``choose``).

    ``device`` is "auto" (the GPU of this rank when there is one), "cpu" or "cuda". InputError when the engine or the
    device cannot be had here.
    """
    chosen, reason = choose(name)
    return resolve(ENGINES, chosen, "engine")(reason=reason, device=device)
