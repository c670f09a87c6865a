"""`python -m kvmlab` is the `kvmlab` command."""

from __future__ import annotations

from kvmlab.cli import main

if __name__ == "__main__":
    main()
