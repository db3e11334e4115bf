"""Lets ``python -m search.run`` run the command."""

import sys

from search.run.command import main

if __name__ == "__main__":
    sys.exit(main())
