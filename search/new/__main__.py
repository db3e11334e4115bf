"""Lets ``python -m search.new`` run the command."""

import sys

from search.new.command import main

if __name__ == "__main__":
    sys.exit(main())
