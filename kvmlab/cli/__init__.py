"""The command line: what the notebooks do, for the terminal and for scripts.

Each module holds one group of commands; `app` puts them together.
"""

from kvmlab.cli.app import answer, main

__all__ = ["answer", "main"]
