"""`python -m igrlib` is the command `igr`."""

import sys

from igrlib.experiments.cli import main

sys.exit(main())
