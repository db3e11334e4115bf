"""Lets ``python -m search.confirm`` run the command."""

import sys

from search.confirm.command import main

if __name__ == "__main__":
    sys.exit(main())
