"""``python -m hpc_astrossl`` is ``astrossl``."""

import sys

from hpc_astrossl.cli import main

if __name__ == "__main__":
    sys.exit(main())
