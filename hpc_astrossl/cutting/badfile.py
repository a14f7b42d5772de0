"""A file that cannot be used: the message for a person, and the few words under which its objects are counted."""

from hpc_astrossl.errors import InputError

NO_FILE, EMPTY, NOT_FITS, TRUNCATED = "no file", "empty file", "not a FITS file", "truncated file"
DAMAGED, NO_IMAGE, PACKED = "unreadable image", "no such image in the file", "packed file"


class BadFile(InputError):
    """An image file that is missing, damaged or foreign; ``reason`` is what its objects are counted under."""

    def __init__(self, message: str, reason: str = DAMAGED):
        super().__init__(message)
        self.reason = reason


def reason_of(error: InputError) -> str:
    """What the objects of a file that raised ``error`` are counted under."""
    return getattr(error, "reason", DAMAGED)


class RecipeFault(InputError):
    """What a choice in the recipe must settle (which image, which unit, which grid): not a reason to drop objects."""
