"""A synthetic survey as ``astrossl simulate`` is asked for it: how many fields and objects, how large, which seed."""

from dataclasses import dataclass

from hpc_astrossl.specs.run import require

MAX_FIELDS = 1000  # the sky grid of the fields has room for these without overlap
MIN_SIZE, MAX_SIZE = 128, 12000
LATTICE, EDGE = 16, 12  # pixels: smallest pitch of objects, distance of the outermost centres from the border


@dataclass(frozen=True, kw_only=True)
class SurveySpec:
    """Everything that decides the bytes of a synthetic survey."""

    fields: int = 4
    objects: int = 600  # drawn in each field; the catalogue holds those that were detected
    size: int = 1600  # side of a field, pixels of 0.55″; S-PLUS has 11000
    seed: int = 0

    def __post_init__(self):
        require(1 <= self.fields <= MAX_FIELDS, f"fields must be 1 to {MAX_FIELDS}, found {self.fields}")
        require(self.objects >= 1, f"objects must be at least 1, found {self.objects}")
        require(self.seed >= 0, f"seed must not be negative, found {self.seed}")
        require(MIN_SIZE <= self.size <= MAX_SIZE, f"size must be {MIN_SIZE} to {MAX_SIZE} px, found {self.size}")
        room = ((self.size - 2 * EDGE) // LATTICE) ** 2 * 4 // 5
        require(
            self.objects <= room,
            f"a field of {self.size} px has room for {room} objects, found {self.objects}: "
            "ask for fewer objects, a larger size or more fields",
        )

    @property
    def names(self) -> tuple[str, ...]:
        """Field names, ``SIM-0001`` and on."""
        return tuple(f"SIM-{number:04d}" for number in range(1, self.fields + 1))
