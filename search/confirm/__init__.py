"""Finalists fitted again on fresh seeds and tested."""
