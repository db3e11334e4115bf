"""Lets ``python -m search.dashboard`` run the command."""

import sys

from search.dashboard.command import main

if __name__ == "__main__":
    sys.exit(main())
