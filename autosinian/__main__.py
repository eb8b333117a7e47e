"""`python -m autosinian`."""

import sys

from autosinian.cli.main import main

sys.exit(main())
