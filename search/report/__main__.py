"""Lets ``python -m search.report`` run the command."""

import sys

from search.report.command import main

if __name__ == "__main__":
    sys.exit(main())
