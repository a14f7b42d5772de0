"""Metrics as TensorBoard reads them: ``events.out.tfevents…`` beside ``metrics.jsonl``, written without TensorBoard.

A record of the file is a length, a payload and their masked CRC-32C; the payload is TensorFlow's ``Event`` message with
wall time (field 1), step (2) and, in its summary (5), values of a tag (1) and a number (2).
"""

import struct
from typing import Any

from google_crc32c import value as crc32c


def opening(wall_time: float) -> bytes:
    """The first record of a file: the version of the format."""
    return _framed(_double(1, wall_time) + _bytes(3, b"brain.Event:2"))


def epoch(record: dict[str, Any], wall_time: float) -> bytes:
    """A line of ``metrics.jsonl``: each number but the epoch under its name, at step ``epoch``."""
    numbers = {name: value for name, value in record.items() if isinstance(value, float)}
    values = b"".join(
        _bytes(1, _bytes(1, name.encode()) + _tag(2, 5) + struct.pack("<f", value)) for name, value in numbers.items()
    )
    return _framed(_double(1, wall_time) + _tag(2, 0) + _varint(record["epoch"]) + _bytes(5, values))


def _framed(payload: bytes) -> bytes:
    length = struct.pack("<Q", len(payload))
    return length + _masked(length) + payload + _masked(payload)


def _masked(data: bytes) -> bytes:
    found = crc32c(data)
    return struct.pack("<I", ((found >> 15 | found << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])


def _tag(field: int, kind: int) -> bytes:
    return _varint(field << 3 | kind)


def _double(field: int, value: float) -> bytes:
    return _tag(field, 1) + struct.pack("<d", value)


def _bytes(field: int, value: bytes) -> bytes:
    return _tag(field, 2) + _varint(len(value)) + value
