"""`python -m igrlib` is the command `igr`."""

import sys

from igrlib.cli import main

sys.exit(main())
