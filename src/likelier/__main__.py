"""`python -m likelier`."""

import sys

from likelier.cli import main

sys.exit(main())
