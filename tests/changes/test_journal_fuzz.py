"""Journals that somebody has altered: reported, never run with another meaning, no traceback."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from kvmlab.changes.host_lock import parse_lab_state
from kvmlab.changes.journal_format import _sum, parse_journal
from kvmlab.errors import OutputError
from tests.changes.plain_host import write_step
from tests.changes.test_journal import NAME, journal_text

#: Of each kind of mutation, with a fixed seed.
MUTATIONS = 3000
VALUES: tuple[Any, ...] = (
    None, True, -1, 2**70, 1.5, "", "x" * 5000, "\x1b[2J", "../x", [], {}, [[]],
    {"kind": "host"},
)  # fmt: skip


@pytest.fixture
def text(folder: Path) -> str:
    return journal_text(write_step(folder / "one", "0", "1"), write_step(folder / "two", "0", "2"))


def test_every_flipped_bit_is_noticed(text: str) -> None:
    raw = text.encode()
    accepted = 0
    for place in range(len(raw)):
        for bit in range(8):
            flipped = raw[:place] + bytes([raw[place] ^ (1 << bit)]) + raw[place + 1 :]
            try:
                parse_journal(NAME, flipped.decode(errors="replace"))
            except OutputError:
                continue
            accepted += 1
    assert accepted == 0


def mutated(value: Any, chance: random.Random) -> Any:
    """Return a copy of a JSON value in which one place is another value, gone, or nested."""
    if isinstance(value, dict) and value and chance.random() < 0.8:
        key = chance.choice(sorted(value))
        if chance.random() < 0.1:
            return {name: one for name, one in value.items() if name != key}
        return {**value, key: mutated(value[key], chance)}
    if isinstance(value, list) and value and chance.random() < 0.8:
        place = chance.randrange(len(value))
        return [*value[:place], mutated(value[place], chance), *value[place + 1 :]]
    if chance.random() < 0.05:
        nested: Any = value
        for _ in range(300):
            nested = [nested]
        return nested
    return chance.choice(VALUES)


def test_records_of_other_types_with_right_checksums(text: str) -> None:
    """As a hostile host could write them."""
    chance = random.Random(15)
    lines = text.splitlines()
    for _ in range(MUTATIONS):
        place = chance.randrange(len(lines))
        record = mutated(json.loads(lines[place].partition(" ")[2]), chance)
        document = json.dumps(record)
        altered = [*lines]
        altered[place] = f"{_sum(NAME, document)} {document}"
        try:
            content = parse_journal(NAME, "\n".join([*altered, ""]))
        except OutputError:
            continue
        for _, step in content.open_steps:
            for command in getattr(step, "undo", ()):
                assert command.operation, "only operations are built"


def test_depth_that_no_parser_takes(text: str) -> None:
    deep = "[" * 200_000
    with pytest.raises(OutputError):
        parse_journal(NAME, f"{text}{_sum(NAME, deep)} {deep}\n")


def test_mutated_answers_of_a_host() -> None:
    answer = (
        "=== boot\n4c8f\n=== machine\n0b1e\n=== holder\n3 root@desk, x\n=== undone\na.jsonl\n"
        "=== journal b.jsonl\nx {}\n\n=== unreadable\nc.jsonl\n=== end\n"
    )
    chance = random.Random(15)
    pieces = ("=== ", "\n", "\0", "\x1b", "end", "-1", "9" * 400, "../x.jsonl", "=== journal ")
    for _ in range(MUTATIONS):
        start = chance.randrange(len(answer))
        end = min(len(answer), start + chance.randrange(30))
        try:
            state = parse_lab_state(answer[:start] + chance.choice(pieces) + answer[end:])
        except OutputError:
            continue
        assert not any("/" in name for name in state.journals)
