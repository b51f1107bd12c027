"""`python -m uvshim` is `uvshim`."""

from __future__ import annotations

import sys

from uvshim.cli import main

sys.exit(main())
