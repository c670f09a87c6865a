"""Text of others in Markdown: every character stands for itself."""

from __future__ import annotations

import string

from kvmlab.terminal import visible


def escaped(text: str) -> str:
    r"""Return ``text`` for one line of Markdown, with nothing in it that is markup.

    Control characters are written out, line breaks become blanks.

    >>> escaped("a*b* <i>")
    'a\\*b\\* \\<i\\>'
    """
    line = visible(" ".join(text.split()))
    return "".join(f"\\{letter}" if letter in string.punctuation else letter for letter in line)
