"""A whole command of the fault suite: ``python -m faults.whole MODULE:FUNCTION ASTROSSL-ARGUMENT…``."""

import sys

from faults.victims import call
from hpc_astrossl import cli

if __name__ == "__main__":
    call(sys.argv[1])
    sys.exit(cli.main(sys.argv[2:]))
