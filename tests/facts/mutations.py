"""Mutations of what a host or a file says: cut, bits flipped, lines moved, other values and types.

Each takes a text and a `random.Random`, so that a seed names a mutation.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

PIECES = (
    "", "\0", "\x1b[2J", "\x9b", "\u202e", "-1", "0", "9" * 400, "1e999", "NaN", "٣", "½", "²",
    "../../x", "$(reboot)", "'; reboot #", "<script>", "null", "[]", "{}", "[" * 20_000, '"',
    "=== exit 0\n", "=== end\n", "=== ", "\n" * 500, "x" * 70_000, "\r", "\ufeff", " ", "\t",
    "0000:00:00.0", "fe80::1%eth0", "::ffff:1.2.3.4", "255.255.255.255/99", "default",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 2**70, 1.5, 1e308, "", "x" * 5000, "\x1b[2J", "../x", [], {}, [[]], [None],
    {"kind": "host"}, "eno1", "default", "0.0.0.0/0", "::/0", "ff:ff:ff:ff:ff:ff",
)  # fmt: skip


def cut(text: str, chance: random.Random) -> str:
    return text[: chance.randrange(len(text) + 1)]


def flipped(text: str, chance: random.Random) -> str:
    raw = bytearray(text.encode())
    for _ in range(chance.choice((1, 1, 8, 200))):
        if raw:
            raw[chance.randrange(len(raw))] ^= 1 << chance.randrange(8)
    return raw.decode(errors="replace")


def spliced(text: str, chance: random.Random) -> str:
    start = chance.randrange(len(text) + 1)
    end = min(len(text), start + chance.choice((0, 1, 5, 30, 3000)))
    return text[:start] + chance.choice(PIECES) + text[end:]


def word_replaced(text: str, chance: random.Random) -> str:
    """Replace one word everywhere, as where a device has a hostile name."""
    words = text.split()
    return text.replace(chance.choice(words), chance.choice(PIECES)) if words else text


def lines_moved(text: str, chance: random.Random) -> str:
    lines = text.split("\n")
    place = chance.randrange(len(lines))
    way = chance.randrange(3)
    if way == 0:
        del lines[place]
    elif way == 1:
        lines.insert(place, lines[place])
    else:
        lines.insert(chance.randrange(len(lines)), lines.pop(place))
    return "\n".join(lines)


def json_altered(text: str, chance: random.Random) -> str:
    """Alter a value in one of the lines of JSON that `ip -j` prints."""
    lines = text.split("\n")
    places = [number for number, line in enumerate(lines) if line[:2] in ("[{", '{"')]
    if not places:
        return spliced(text, chance)
    place = chance.choice(places)
    try:
        value = json.loads(lines[place])
    except (ValueError, RecursionError):
        return spliced(text, chance)
    lines[place] = json.dumps(altered(value, chance))
    return "\n".join(lines)


def altered(value: Any, chance: random.Random) -> Any:
    if isinstance(value, dict) and value and chance.random() < 0.9:
        key = chance.choice(sorted(value))
        if chance.random() < 0.1:
            return {name: one for name, one in value.items() if name != key}
        return {**value, key: altered(value[key], chance)}
    if isinstance(value, list) and value and chance.random() < 0.9:
        place = chance.randrange(len(value))
        return [*value[:place], altered(value[place], chance), *value[place + 1 :]]
    return chance.choice(VALUES)


MUTATIONS: tuple[Callable[[str, random.Random], str], ...] = (
    cut, flipped, spliced, word_replaced, lines_moved, json_altered, json_altered,
)  # fmt: skip


def mutated(text: str, chance: random.Random) -> str:
    """Return the text with one to four mutations."""
    for _ in range(chance.choice((1, 1, 2, 4))):
        text = chance.choice(MUTATIONS)(text, chance)
    return text
