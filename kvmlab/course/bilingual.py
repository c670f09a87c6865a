"""Text of the course, which exists in English and in Chinese."""

from __future__ import annotations

from dataclasses import dataclass

from kvmlab.language import current_language


@dataclass(frozen=True)
class Bilingual:
    """One text in both languages. Words between grave accents are code."""

    en: str
    zh: str

    def text(self, language: str = "") -> str:
        """Return the text in ``language``; left out, in the language of the run."""
        return self.zh if (language or run_language()).startswith("zh") else self.en

    def format(self, **values: object) -> Bilingual:
        """Return the text with ``{name}`` replaced by values, in both languages."""
        return Bilingual(self.en.format(**values), self.zh.format(**values))


def run_language() -> str:
    """Return the language of the run."""
    return current_language()
