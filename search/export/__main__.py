"""Lets ``python -m search.export`` run the command."""

import sys

from search.export.command import main

if __name__ == "__main__":
    sys.exit(main())
