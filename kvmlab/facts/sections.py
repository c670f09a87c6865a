"""The frames in which a reading script puts the answers of many tools."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from kvmlab.errors import OutputError

_BEGIN: Final = re.compile(r"@@ begin (\S.*)")
_END: Final = re.compile(r"@@ end (\S.*) (\d+)")
_EVIDENCE_CHARS: Final = 400


@dataclass(frozen=True)
class Sections:
    """Answers by name; a name that is not there was never asked or got lost."""

    texts: Mapping[str, str]
    codes: Mapping[str, int]

    def text(self, name: str) -> str:
        """What was printed in section ``name``.

        Raises:
            OutputError: there is no such section.
        """
        if name not in self.texts:
            raise OutputError(
                f'The host\'s answer has no section "{name}"; it was cut off, or comes from '
                "another version of kvmlab.",
            )
        return self.texts[name]

    def code(self, name: str) -> int:
        """The exit code of section ``name``: 127 where its tool is not installed."""
        self.text(name)
        return self.codes[name]


def parse_sections(text: str) -> Sections:
    """Sections by name, from what a reading script printed.

    ::

        @@ begin namespaces
        peer

        @@ end namespaces 0

    Raises:
        OutputError: a section does not end, or there is text outside of sections.
    """
    texts: dict[str, str] = {}
    codes: dict[str, int] = {}
    name: str | None = None
    lines: list[str] = []
    for line in text.split("\n"):
        if name is None:
            if not line:
                continue
            begun = _BEGIN.fullmatch(line)
            if begun is None:
                raise _unknown(line)
            name, lines = begun[1], []
        elif (ended := _END.fullmatch(line)) is not None:
            if ended[1] != name:
                raise _unknown(line)
            # The frame puts one newline of its own before its end.
            texts[name] = "\n".join(lines)
            codes[name] = int(ended[2])
            name = None
        else:
            lines.append(line)
    if name is not None:
        raise OutputError(
            f'The host\'s answer was cut off in section "{name}".',
            evidence=text[-_EVIDENCE_CHARS:],
        )
    return Sections(texts, codes)


def _unknown(line: str) -> OutputError:
    return OutputError(
        "The host's answer could not be understood: text outside of its sections.",
        evidence=line[:_EVIDENCE_CHARS],
    )
