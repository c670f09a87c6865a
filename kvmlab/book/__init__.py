"""A static site of a run, to be read without running anything and without a network."""

from kvmlab.book.site import write_book

__all__ = ["write_book"]
