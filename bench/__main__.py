"""`python -m bench [NAME…] [--count N]`: run benchmarks one after another.

What follows the name of one benchmark and is no benchmark itself goes to it, as in
`python -m bench walk_jobs 00 01 --jobs 2`.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path


def main() -> int:
    """Run the named benchmarks, or all; 1 if one failed."""
    here = Path(__file__).resolve().parent
    known = sorted(path.stem for path in here.glob("[a-z]*.py"))
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(known)}")
    parser.add_argument("--count", type=int, help="samples of each kind")
    arguments, further = parser.parse_known_args()
    first, *others = arguments.names or [""]
    if first in known and not set(others) & set(known):
        arguments.names, further = [first], [*others, *further]
    elif further:
        parser.error(f"{' '.join(further)}: such options are for one benchmark at a time")
    unknown = sorted(set(arguments.names) - set(known))
    if unknown:
        parser.error(f"unknown benchmark {', '.join(unknown)}; there are {', '.join(known)}")
    count = [] if arguments.count is None else ["--count", str(arguments.count)]
    for name in arguments.names or known:
        print(f"== {name}", file=sys.stderr, flush=True)
        importlib.import_module(f"bench.{name}").main([*count, *further])
    return 0


if __name__ == "__main__":
    sys.exit(main())
