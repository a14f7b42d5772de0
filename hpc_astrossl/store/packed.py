"""Numbers in a shard's record: float64 in base64, which JSON reads in no time; and bit by bit as they were."""

import base64
from typing import Any

import numpy as np


def pack(values: np.ndarray) -> dict[str, Any]:
    """JSON-able: the shape, and the numbers as little-endian float64."""
    return {"shape": list(values.shape), "float64": base64.b64encode(values.astype("<f8").tobytes()).decode()}


def unpack(packed: dict[str, Any]) -> np.ndarray:
    """The numbers that ``pack`` was given; float64."""
    return np.frombuffer(base64.b64decode(packed["float64"]), "<f8").reshape(packed["shape"])
