"""A commented study for texts of one's own: what is found, what this machine can do, sizes that fit the time."""

from search.new.command import main

__all__ = ["main"]
