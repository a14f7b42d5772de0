"""Pretexts: what a network is asked for when there are no labels. ``names.PRETEXTS`` lists the kinds.

``pretexts/pretext.py`` says what one is (docs/decisions/pretexts.md says why); a further one is a file here, a line in
that table, and its switches in ``specs/pretexts.py``.
"""

from hpc_astrossl.pretexts.network import Viewed, learner
from hpc_astrossl.pretexts.pretext import Pretext, Renewal, open_pretext

__all__ = ["Pretext", "Renewal", "Viewed", "learner", "open_pretext"]
