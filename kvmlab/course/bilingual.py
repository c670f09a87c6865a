"""Text of the course, which exists in English and in Chinese."""

from __future__ import annotations

from dataclasses import dataclass

from kvmlab.language import current_language, reading, translate


@dataclass(frozen=True)
class Bilingual:
    """One text in both languages. Words between grave accents are code."""

    en: str
    zh: str

    @classmethod
    def of(cls, text: str) -> Bilingual:
        """Return an English text beside the Chinese that the catalogue has for it."""
        with reading("zh-CN"):
            return cls(text, translate(text))

    def text(self, language: str = "") -> str:
        """Return the text in ``language``; left out, in the language of the run."""
        return self.zh if (language or run_language()).startswith("zh") else self.en

    def format(self, **values: object) -> Bilingual:
        """Return the text with ``{name}`` replaced by values, in both languages.

        A value that is bilingual itself stands in each language with its own text.
        """

        def filled(text: str, language: str) -> str:
            return text.format(
                **{
                    name: value.text(language) if isinstance(value, Bilingual) else value
                    for name, value in values.items()
                }
            )

        return Bilingual(filled(self.en, "en"), filled(self.zh, "zh-CN"))


def run_language() -> str:
    """Return the language of the run."""
    return current_language()
