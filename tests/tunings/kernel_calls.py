"""Counts of calls of a kernel's functions, by probes at their entries."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: A program's arguments to what it prints, as root, on a host or inside a VM.
Run = Callable[..., str]

_BEGIN = """
[ -e /sys/kernel/tracing/kprobe_events ] || mount -t tracefs tracefs /sys/kernel/tracing
cd /sys/kernel/tracing
for name; do echo "p:kvmlabtest/$name $name" >>kprobe_events || exit 1; done
echo 1 >events/kvmlabtest/enable
"""
_END = """
cd /sys/kernel/tracing
cat kprobe_profile
echo 0 >events/kvmlabtest/enable
for name; do echo "-:kvmlabtest/$name" >>kprobe_events; done
"""


@contextmanager
def calls(run: Run, *functions: str) -> Iterator[dict[str, int]]:
    """Count calls of each of ``functions`` while the block runs; the numbers are there at its end.

    A function that the kernel has inlined has no entry and cannot be counted: the block fails.
    """
    counts: dict[str, int] = {}
    run("sh", "-c", _BEGIN, "-", *functions)
    try:
        yield counts
    finally:
        text = run("sh", "-c", _END, "-", *functions)
    for name in functions:
        line = re.search(rf"^\s*{name}\s+(\d+)\s+\d+", text, re.MULTILINE)
        assert line is not None, f"{name} is not among those counted:\n{text}"
        counts[name] = int(line[1])
