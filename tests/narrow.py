"""VGG16 with fewer channels: little work and few bytes, for what holds of a network of any width."""

import functools
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def channels(share: int) -> Iterator[None]:
    """In this process VGG16 has its channels divided by ``share``; processes that a test starts have them all."""
    from hpc_astrossl.nets import vgg

    widths = _whole()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vgg, "BLOCKS", tuple(tuple(width // share for width in group) for group in widths))
        patch.setattr(vgg, "CHANNELS", widths[-1][-1] // share)
        yield


@functools.cache
def _whole() -> tuple[tuple[int, ...], ...]:
    """The widths as they are: asked for first where nothing is narrow."""
    from hpc_astrossl.nets import vgg

    return vgg.BLOCKS
