"""The Chinese catalogue: every text has an entry, with the same places and the glossary's terms."""

from __future__ import annotations

import re
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po

from kvmlab.language import LANGUAGES
from tests.language.messages import LOCALE, by_room, messages, not_shown
from tests.notebooks.test_terms import refused

FILES = sorted((LOCALE / LANGUAGES[1]).glob("*.po"))
#: Words with 主机 that name no host: a key, a list, the canaries of a rollout.
OTHER_WORDS = re.compile("主机密钥|主机清单|先行主机")
#: Parts of a text that only English needs: an "s" of the plural.
ENGLISH_ONLY = {"ending", "plural"}


def catalogue(path: Path) -> Catalog:
    with path.open("rb") as file:
        return read_po(file, locale="zh_CN")


def entries() -> dict[str, str]:
    """Return every entry of the catalogue: English text -> Chinese text."""
    entries_by_text: dict[str, str] = {}
    for path in FILES:
        for message in catalogue(path):
            texts = [message.id] if isinstance(message.id, str) else list(message.id)
            chinese = message.string or ""
            shown = chinese if isinstance(chinese, str) else chinese[0]
            entries_by_text.update(dict.fromkeys(texts, shown))
    entries_by_text.pop("", None)
    return entries_by_text


ENTRIES = entries()


def test_every_text_of_the_package_has_a_chinese_entry() -> None:
    missing = [
        f"{message.place}: {message.text}"
        for room in by_room().values()
        for message in room
        if not ENTRIES.get(message.text)
    ]
    assert not missing, "Run `python -m tests.language.messages`, then translate:\n" + "\n".join(
        missing
    )


def test_no_entry_is_left_over() -> None:
    texts = {message.text for message in messages()}
    texts |= {message.plural for message in messages()}
    gone = [
        message.id
        for path in FILES
        if path.stem != "labels"
        for message in catalogue(path)
        if message.id and message.id not in texts and message.id[0] not in texts
    ]
    assert not gone, "\n".join(map(str, gone))


def test_what_is_not_shown_is_in_the_code() -> None:
    assert not not_shown() - {message.text for message in messages()}


def places(text: str) -> set[str]:
    return set(re.findall(r"(?<!\{)\{(\w*)\}", text))


def test_a_translation_has_the_places_of_its_text() -> None:
    """Each value of the English text stands in the Chinese one, and nothing else does."""
    wrong = [
        f"{english}\n    {chinese}"
        for english, chinese in ENTRIES.items()
        if not places(chinese) <= places(english) <= places(chinese) | ENGLISH_ONLY
    ]
    assert not wrong, "\n".join(wrong)


def test_translations_use_the_terms_of_the_glossary(repository: Path) -> None:
    pattern = refused(repository, chinese=True)
    wrong = []
    for english, chinese in ENTRIES.items():
        match = pattern.search(OTHER_WORDS.sub("", chinese))
        if match:
            wrong.append(f"{english}: {match[0]}")
    assert not wrong, "\n".join(wrong)


def test_commands_and_names_in_a_text_stay_as_they_are() -> None:
    """A command in backticks can be copied from the Chinese text as from the English one."""
    wrong = []
    for english, chinese in ENTRIES.items():
        commands = set(re.findall(r"`([^`]+)`", english))
        if not commands <= set(re.findall(r"`([^`]+)`", chinese)):
            wrong.append(f"{english}\n    {chinese}")
    assert not wrong, "\n".join(wrong)
