"""The shape in which the shipped scripts print: sections, and files inside them."""

from __future__ import annotations

import re

from kvmlab.errors import OutputError

_SECTION = re.compile(r"^=== (?P<name>.+)$", re.MULTILINE)
_FILE = re.compile(r"^==> (?P<path>.+) <==$", re.MULTILINE)


def sections(text: str, *, ended: bool = True) -> list[tuple[str, str]]:
    """Name and text of each section, in order; ``=== end`` closes what is complete.

    ::

        === snapshot begin
        1763815000.123456789
        === wire
        Inter-|   Receive ...
        === end

    Raises:
        OutputError: there is no section, or with ``ended`` the last one is not ``end``.
    """
    marks = list(_SECTION.finditer(text))
    if not marks or (ended and marks[-1]["name"] != "end"):
        raise OutputError(
            "The output of a meter's script broke off before its end.", evidence=text[-400:]
        )
    ends = [*(mark.start() for mark in marks[1:]), len(text)]
    return [
        (mark["name"], text[mark.end() + 1 : end]) for mark, end in zip(marks, ends, strict=True)
    ]


def files(text: str) -> dict[str, str]:
    """The files that ``tail -v`` printed, by path.

    ::

        ==> /proc/loadavg <==
        0.52 0.58 0.59 1/123 4567
    """
    marks = list(_FILE.finditer(text))
    ends = [*(mark.start() for mark in marks[1:]), len(text)][: len(marks)]
    return {
        mark["path"]: text[mark.end() + 1 : end].rstrip("\n") + "\n"
        for mark, end in zip(marks, ends, strict=True)
    }
