r"""Text for a terminal: control characters of VMs and hosts are shown, not obeyed."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from rich.console import Console
from rich.segment import Segment

#: Control characters but newline and tab, and what turns the direction of text around.
_CONTROL: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)


def visible(text: str) -> str:
    r"""Return ``text`` with control characters written out.

    >>> visible("a\x1b[2Jb\r\n")
    'a\\x1b[2Jb\\x0d\n'
    """
    return _CONTROL.sub(_escape, text)


def visible_json(text: str) -> str:
    r"""Return a JSON document with control characters as JSON writes them.

    >>> visible_json('"a\x9bb"')
    '"a\\u009bb"'
    """
    return _CONTROL.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


class SafeConsole(Console):
    """A console that shows the control characters of what is printed, and obeys only its own."""

    def _render_buffer(self, buffer: Iterable[Segment]) -> str:
        return super()._render_buffer(
            segment if segment.control else Segment(visible(segment.text), segment.style)
            for segment in buffer
        )
