"""The output format of kvmlab's scripts: sections, and files inside of them.

Sections::

    === addresses
    [{"ifindex":1,"ifname":"lo"}]

    === exit 0
    === journal 1.jsonl
    {"event": "open"}
    === end

A mark opens a section that goes on to the next mark. ``=== exit CODE`` closes it with the exit code
of the tool that printed it (127: the tool is missing) and puts a newline of its own before it.
``=== end`` is the last line of whatever is complete. Shell scripts use ``section`` of
``scripts/prelude.sh`` for it.

Files, as ``tail -v -n +1`` prints them::

    ==> /sys/class/net/eth0/mtu <==
    1500

    ==> /proc/cmdline <==
    ro quiet
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from kvmlab.errors import OutputError

_MARK: Final = re.compile(r"^=== (?P<name>\S.*)$", re.MULTILINE)
_EXIT: Final = re.compile(r"exit (\d+)")
_FILE: Final = re.compile(r"^==> (?P<path>.+) <==$", re.MULTILINE)
_END: Final = "end"
_EVIDENCE_CHARS: Final = 400


@dataclass(frozen=True)
class ScriptSection:
    """One part of an output; ``code`` is its tool's exit code, None where the script has none."""

    name: str
    text: str
    code: int | None = None


@dataclass(frozen=True)
class ScriptOutput:
    """The sections of one output, in the order in which they were printed."""

    sections: tuple[ScriptSection, ...]

    def __contains__(self, name: str) -> bool:
        return any(section.name == name for section in self.sections)

    def section(self, name: str) -> ScriptSection:
        """Return the section ``name``; the last one where there are several.

        Raises:
            OutputError: there is none.
        """
        for section in reversed(self.sections):
            if section.name == name:
                return section
        raise OutputError(
            f'The answer of the host has no section "{name}"; another version of kvmlab\'s '
            "scripts has printed it.",
            evidence=", ".join(section.name for section in self.sections),
        )

    def text(self, name: str) -> str:
        """Return what was printed in the section ``name``. Raises as `section` does."""
        return self.section(name).text

    def optional_text(self, name: str) -> str:
        """Return the text of a section that recordings of older scripts lack; "" without it."""
        return self.text(name) if name in self else ""

    def code(self, name: str) -> int:
        """Return the exit code of the section ``name``: 127 where its tool is not installed.

        Raises:
            OutputError: there is no such section, or it has no exit code.
        """
        code = self.section(name).code
        if code is None:
            raise OutputError(f'The section "{name}" of the host\'s answer has no exit code.')
        return code

    def named(self, kind: str) -> dict[str, str]:
        """Return the texts of the sections ``KIND NAME``, by name."""
        return {
            section.name.removeprefix(f"{kind} "): section.text
            for section in self.sections
            if section.name.startswith(f"{kind} ")
        }


def parse_output(text: str, *, complete: bool = True) -> ScriptOutput:
    """Parse what a script printed; see the head of this module for its shape.

    Raises:
        OutputError: text outside of sections, or ``complete`` and no ``=== end``.
    """
    marks = list(_MARK.finditer(text))
    _must_be_blank(text[: marks[0].start()] if marks else text)
    if complete and (not marks or marks[-1]["name"] != _END):
        raise OutputError(
            "The answer of the host was cut off before its end.", evidence=text[-_EVIDENCE_CHARS:]
        )
    stops = [*(mark.start() for mark in marks[1:]), len(text)]
    sections: list[ScriptSection] = []
    is_open = False
    for mark, stop in zip(marks, stops, strict=False):
        body = text[mark.end() + 1 : stop]
        code = _EXIT.fullmatch(mark["name"])
        if code is None and mark["name"] != _END:
            sections.append(ScriptSection(mark["name"], body))
            is_open = True
            continue
        _must_be_blank(body)
        if code is not None:
            if not is_open:
                raise _unknown(text[: mark.end()][-_EVIDENCE_CHARS:])
            section = sections.pop()
            # The frame puts one newline of its own before the code.
            sections.append(
                ScriptSection(section.name, section.text.removesuffix("\n"), int(code[1]))
            )
        is_open = False
    return ScriptOutput(tuple(sections))


def _must_be_blank(text: str) -> None:
    if text.strip():
        raise _unknown(text)


def _unknown(evidence: str) -> OutputError:
    return OutputError(
        "The answer of the host could not be understood: text outside of its sections.",
        evidence=evidence[:_EVIDENCE_CHARS],
    )


def parse_files(text: str) -> dict[str, str]:
    """Return the texts of files by path, from what ``tail -v`` printed.

    Newlines at their ends are left out. A file that is empty, or could be opened and not read, has
    an empty text.

    Raises:
        OutputError: there is text before the first path.
    """
    marks = list(_FILE.finditer(text))
    head = text[: marks[0].start()] if marks else text
    if head.strip():
        raise OutputError(
            "A list of files could not be understood.", evidence=head[:_EVIDENCE_CHARS]
        )
    ends = [*(mark.start() for mark in marks[1:]), len(text)]
    return {
        mark["path"]: text[mark.end() + 1 : end].rstrip("\n")
        for mark, end in zip(marks, ends, strict=False)
    }
