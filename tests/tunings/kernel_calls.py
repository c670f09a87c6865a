"""Calls of a kernel's functions, by probes at their entries: how many, and in which order."""

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
#: So many of the last calls are told in their order.
_LAST = 20_000
_ORDER = f"""
cd /sys/kernel/tracing
sed -n "s/^ *$1-.*: \\([a-z_0-9]*\\): (.*/\\1/p" trace | tail -n {_LAST}
"""
_BEGIN_WHERE = """
[ -e /sys/kernel/tracing/kprobe_events ] || mount -t tracefs tracefs /sys/kernel/tracing
cd /sys/kernel/tracing
echo "p:kvmlabtest/$1 $1 value=$2" >>kprobe_events || exit 1
echo "$3" >events/kvmlabtest/$1/filter || exit 1
echo >trace
echo 1 >events/kvmlabtest/enable
"""
_END_WHERE = """
cd /sys/kernel/tracing
grep -c ": $1: (" trace
echo 0 >events/kvmlabtest/enable
echo "-:kvmlabtest/$1" >>kprobe_events
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


@contextmanager
def order(run: Run, thread: str, *functions: str) -> Iterator[list[str]]:
    """Note in which order threads named ``thread`` call ``functions`` while the block runs.

    Of many calls the last are there at its end.
    """
    names: list[str] = []
    with calls(run, *functions):
        run("sh", "-c", "echo >/sys/kernel/tracing/trace")
        yield names
        names += run("sh", "-c", _ORDER, "-", thread).split()


@contextmanager
def calls_where(run: Run, function: str, value: str, condition: str) -> Iterator[list[int]]:
    """Count calls of ``function`` for which ``condition`` holds; the number is there at the end.

    ``value`` is an argument of it, or what one points to: "dev_queue->state".
    """
    counts: list[int] = []
    run("sh", "-c", _BEGIN_WHERE, "-", function, value, condition)
    try:
        yield counts
    finally:
        counts.append(int(run("sh", "-c", _END_WHERE, "-", function)))
