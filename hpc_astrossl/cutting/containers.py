"""What a file is, told by its first bytes and never by its name; packed ones are unpacked once.

What is packed (``tables.streams`` knows how) is unpacked into memory, or from SPOOL bytes on into a file without a name
in the temporary folder (TMPDIR), so that any number of windows cost one unpacking. Other packings are named with the
command that undoes them.
"""

import os
import shutil
import tempfile
from pathlib import Path
from typing import IO

from hpc_astrossl.cutting.badfile import EMPTY, NOT_FITS, PACKED, BadFile
from hpc_astrossl.tables import streams

SPOOL = 1 << 28
PIECE = 1 << 20
_FOREIGN = {
    b"\x89HDF": "an HDF5 file",
    b"#ASDF": "an ASDF file",
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"II*\x00": "a TIFF picture",
    b"MM\x00*": "a TIFF picture",
    b"PAR1": "a Parquet table",
    b"%PDF": "a PDF document",
    b"{": "JSON or plain text, as a server's error message is",
}
FITS = b"SIMPLE  ="


def there(path: Path) -> bool:
    """Whether it is a file that this process may read."""
    return path.is_file() and os.access(path, os.R_OK)


def is_fits(path: Path) -> bool:
    """Whether the file, or what is packed in it, begins as FITS does; OSError if unreadable."""
    with path.open("rb") as stream:
        head = stream.read(16)
        stream.seek(0)
        if (kind := streams.kind_of(head)) is not None:
            try:
                with streams.undone(stream, kind) as inside:
                    head = inside.read(16)
            except streams.FAULTS:
                return True  # what is wrong with it is said when it is read
    return head.startswith(FITS) or head[:2] == b"\x1f\x9d"


def open_fits(path: Path) -> IO[bytes]:
    """The bytes of a FITS file, seekable. BadFile says what the file is instead; OSError and the like if damaged."""
    stream = path.open("rb")
    try:
        for _ in range(3):  # packed, and packed again by a server
            head = stream.read(64)
            stream.seek(0)
            kind = streams.kind_of(head)
            if kind is None:
                break
            stream = _unpacked(stream, kind)
        if not head.startswith(FITS):
            raise _foreign(path, head)
    except BaseException:
        stream.close()
        raise
    return stream


def _unpacked(packed: IO[bytes], kind: str) -> IO[bytes]:
    whole = tempfile.SpooledTemporaryFile(max_size=SPOOL)  # noqa: SIM115 - handed to the caller
    try:
        with packed, streams.undone(packed, kind) as inside:
            shutil.copyfileobj(inside, whole, PIECE)
    except BaseException:
        whole.close()
        raise
    whole.seek(0)
    return whole


def _foreign(path: Path, head: bytes) -> BadFile:
    if not head:
        return BadFile(f"{path}: damaged or not a FITS file: it is empty; fetch it again", EMPTY)
    if (found := streams.unread(head)) is not None:
        what, command = found
        undo = command.replace("{}", path.name)
        return BadFile(f"{path}: is {what}, which is not read; unpack it: {undo}", PACKED)
    what = "an HTML or XML page, as a server's error message is" if head.lstrip().startswith(b"<") else None
    what = what or next((what for magic, what in _FOREIGN.items() if head.startswith(magic)), "something else")
    return BadFile(f"{path}: damaged or not a FITS file: by its first bytes it is {what}; fetch it again", NOT_FITS)
