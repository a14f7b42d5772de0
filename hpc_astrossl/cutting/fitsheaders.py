"""The headers of a FITS image, asked for keywords of which it has few."""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from astropy.io import fits

Header = fits.Header
_PLAIN = re.compile("[A-Z0-9_-]{1,8}")  # keywords that are found under their own name alone


@dataclass(frozen=True, kw_only=True)
class Headers:
    """What the headers of an image tell: its ``shape`` without axes of length one, its own and the primary header."""

    path: Path
    shape: tuple[int, ...]
    image: Header
    primary: Header

    def get(self, key: str, default: Any = None) -> Any:
        """A keyword's value by the image's header, else by the primary.

        Files are asked for some thirty keywords of which they have few, and astropy takes long to miss one.
        """
        if self._keywords is not None and key not in self._keywords and _PLAIN.fullmatch(key):
            return default
        return self.image.get(key, self.primary.get(key, default))

    @cached_property
    def _keywords(self) -> frozenset[str] | None:
        """Of both; None where one holds records, which are found by a part of their keyword, too."""
        names = frozenset(name.upper() for header in (self.image, self.primary) for name in header)
        return None if any("." in name for name in names) else names
