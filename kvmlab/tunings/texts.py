"""The sentences about tunings in both languages, from ``texts.toml``."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from kvmlab.errors import UsageError


@dataclass(frozen=True)
class Sentence:
    """One sentence in the two languages of the notebooks."""

    en: str
    zh: str

    def in_language(self, language: str) -> str:
        """Return it in "en" or "zh-CN"."""
        return self.zh if language.startswith("zh") else self.en


@dataclass(frozen=True)
class TuningText:
    """Sentences about a tuning: what it does, when to use it, what real hosts add to it."""

    title: Sentence
    does: Sentence
    use: Sentence
    elsewhere: Sentence


def text_of(tuning_id: str) -> TuningText:
    """Return the sentences of a tuning.

    Raises:
        UsageError: ``texts.toml`` has none of that id.
    """
    entry = _entries().get(tuning_id)
    if entry is None:
        raise UsageError(
            f"The tuning {tuning_id} has no sentences.",
            todo=f"Add [{tuning_id}] to kvmlab/tunings/texts.toml.",
        )
    return TuningText(**{name: Sentence(**entry[name]) for name in TuningText.__annotations__})


def all_sentences() -> Iterator[Sentence]:
    """Yield every sentence about every tuning."""
    for entry in _entries().values():
        yield from (Sentence(**entry[name]) for name in TuningText.__annotations__)


@cache
def _entries() -> Mapping[str, Mapping[str, Mapping[str, str]]]:
    return tomllib.loads(files("kvmlab.tunings").joinpath("texts.toml").read_text("utf-8"))
