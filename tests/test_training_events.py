"""What TensorBoard will read: checksums as the format's authors give them, and a run's numbers found again."""

import json
import struct

import pytest
from training_toys import HEAD, make_run, make_store

from hpc_astrossl import names
from hpc_astrossl.training import events
from hpc_astrossl.training.folder import run_path
from hpc_astrossl.training.run import train

pytestmark = pytest.mark.usefixtures("narrow")


def test_the_checksum_is_castagnolis():
    assert events.crc32c(b"123456789") == 0xE3069283
    assert events.crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720, B.4


def records(data):
    """Payloads of a file, their checksums held."""
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        payload = data[12 : 12 + length]
        for part, stored in ((data[:8], data[8:12]), (payload, data[12 + length : 16 + length])):
            found = events.crc32c(part)
            assert struct.unpack("<I", stored)[0] == (((found >> 15) | (found << 17)) + 0xA282EAD8) & 0xFFFFFFFF
        yield payload
        data = data[16 + length :]


def test_a_run_leaves_its_metrics_for_tensorboard(tmp_path):
    make_store(tmp_path / "toy")
    run = make_run(HEAD)
    train(run, tmp_path)
    folder = run_path(tmp_path, "toys", names.resolved(run).run_id)
    (file,) = folder.glob("events.out.tfevents.*")
    first, *rest = records(file.read_bytes())
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert first.endswith(b"brain.Event:2")
    assert len(rest) == len(lines) == HEAD.epochs
    for line, payload in zip(lines, rest, strict=True):
        assert payload[9:11] == bytes([0x10, line["epoch"]])
        place = payload.index(b"validation_accuracy") + len(b"validation_accuracy")
        (found,) = struct.unpack("<f", payload[place + 1 : place + 5])
        assert found == pytest.approx(line["validation_accuracy"])
