"""Language of what people read: texts are English in the code and translated where they are shown.

Data (results, journals, ids, JSON) hold English; figures, tables, panels, pages, errors and the
command line pass it through :func:`translate`, imported as ``_``. So what was measured, stored or
sent by another process reads in the reader's language, whatever language that was made in.

The catalogue is gettext's: ``kvmlab/locale/zh-CN/*.po``, a file for each room. Three ways lead to
an entry::

    _("Medians of all trials")                          the text itself
    _("Medians of {count} trials").format(count=5)      a text with places
    _(error.message)                                    a finished text: its entry is the one whose
                                                        text around the places fits; what stands in
                                                        the places is translated in turn

``python -m tests.language.messages`` brings the catalogue up to date with the code.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Final

ENGLISH: Final = "en"
LANGUAGES: Final = (ENGLISH, "zh-CN")
VARIABLE: Final = "KVMLAB_LANGUAGE"
_FOLDER: Final = Path(__file__).parent / "locale"
_PLACE: Final = re.compile(r"\{(\w*)\}")
#: Letters by which templates are sorted into bins.
_KEY: Final = 4
#: Fewer letters around its places say nothing about a text.
_LEAST_LETTERS: Final = 8
#: A template's places may hold texts that have places again.
_DEEPEST: Final = 4
_LIST: Final = re.compile(r"(?P<first>[^ ,;]+(?:, [^ ,;]+)*) (?P<word>and|or) (?P<last>[^ ,;]+)")

_HAN: Final = "\u3400-\u9fff"
_MARKS: Final = "\u3000-\u303f\uff00-\uffef"
_TOUCHING: Final = re.compile(rf"(?<=[{_HAN}])(?=[A-Za-z0-9`])|(?<=[A-Za-z0-9%`])(?=[{_HAN}])")
_BLANK: Final = re.compile(rf"(?<=[{_HAN}{_MARKS}]) (?=[{_HAN}{_MARKS}])")
#: Blanks in what is still a name: "VLAN 7".
_NAME_BLANKS: Final = 2
_RATIO: Final = " : "
_JOINTS: Final = (" against ", ", used by ", _RATIO)
#: Ends of the names of costs, whose entries have a place before them.
_AMOUNTS: Final = (" a packet", " a megabyte")
#: A name, such as "ens1f0 (0000:02:00.0)", and a sentence about it.
_ABOUT: Final = re.compile(r"([\w.@-]+(?: \([^()]*\))?): (\S+ .*)", re.DOTALL)
#: A name with its part: "CPU time (guest)".
_PART: Final = re.compile(r"([^()]+) \(([^()]+)\)")
_current: ContextVar[str] = ContextVar("kvmlab_language", default="")
_process: list[str] = []


def known_language(name: str) -> str:
    """Return the language called ``name``; empty where kvmlab does not speak it."""
    normalized = name.strip().partition(".")[0].replace("_", "-").lower()
    for language in LANGUAGES:
        if normalized in (language.lower(), language.lower().split("-")[0]):
            return language
    return ""


def parse_language(name: str) -> str:
    """Return the language called ``name``; ``zh`` and ``zh_cn`` are names of ``zh-CN``.

    Raises:
        UsageError: kvmlab does not speak it.
    """
    language = known_language(name)
    if language:
        return language
    from kvmlab.errors import UsageError

    raise UsageError(
        f"kvmlab does not speak the language {name!r}.",
        todo=f"Its languages are: {', '.join(LANGUAGES)}.",
    )


def current_language() -> str:
    """Return the language of the reader: as set, else of KVMLAB_LANGUAGE, else English."""
    return _current.get() or (_process[-1] if _process else _of_environment())


@contextmanager
def process_language(name: str) -> Iterator[None]:
    """Set the language of this process, its threads and what it starts inside the block.

    Raises:
        UsageError: kvmlab does not speak it.
    """
    before = os.environ.get(VARIABLE)
    _process.append(parse_language(name))
    os.environ[VARIABLE] = _process[-1]
    try:
        yield
    finally:
        _process.pop()
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Show texts in the language ``name`` inside the block, in this thread only.

    Raises:
        UsageError: kvmlab does not speak it.
    """
    token = _current.set(parse_language(name))
    try:
        yield
    finally:
        _current.reset(token)


def _of_environment() -> str:
    language = known_language(os.environ.get(VARIABLE, ""))
    if language:
        return language
    # A kernel of JupyterLab knows its notebook, which stands in the folder of its language.
    notebook = Path(os.environ.get("JPY_SESSION_NAME", ""))
    return next((each for each in LANGUAGES if each in notebook.parts), ENGLISH)


def translate(text: str) -> str:
    """Return ``text`` in the reader's language; English where the catalogue has no entry."""
    language = current_language()
    return text if language == ENGLISH or not text else _translated(language, text)


_ = translate
#: Marks a text that is translated where it is shown.
N_: Final = str


def typeset(text: str) -> str:
    """Return a Chinese text with one blank between Han characters and Latin words, none elsewhere.

    Texts that are put together need it: what fills a place may be of either script.
    """
    return _TOUCHING.sub(" ", _BLANK.sub("", text))


def ngettext(singular: str, plural: str, count: int) -> str:
    """Return the text for ``count`` things, its places filled: ``{count}`` is the number.

    >>> ngettext("{count} flow", "{count} flows", 1)
    '1 flow'
    """
    text = singular if count == 1 else plural
    language = current_language()
    if language != ENGLISH:
        # Chinese has one form, which the entry of the plural holds.
        text = catalogue(language).exact.get(plural, text)
    return text.format(count=count)


@dataclass(frozen=True)
class _Template:
    """An entry with places: how to know a finished text of it, and the text to put in its place."""

    pattern: re.Pattern[str]
    literals: tuple[str, ...]
    translation: str


@dataclass(frozen=True)
class Catalogue:
    """All entries of one language, by text and by the letters that a text begins with."""

    exact: dict[str, str]
    bins: dict[str, list[_Template]]
    #: Templates that begin with a place.
    floating: list[_Template]

    def template_of(self, text: str) -> tuple[_Template, dict[str, str]] | None:
        """Return the template with the longest text that fits, and what stands in its places."""
        for templates in (self.bins.get(text[:_KEY], ()), self.floating):
            for template in templates:
                if all(literal in text for literal in template.literals):
                    match = template.pattern.fullmatch(text)
                    if match is not None:
                        return template, match.groupdict()
        return None


@cache
def catalogue(language: str) -> Catalogue:
    """Return the catalogue of a language, read once."""
    from babel.messages.pofile import read_po

    exact: dict[str, str] = {}
    for path in sorted((_FOLDER / language).glob("*.po")):
        with path.open("rb") as file:
            for message in read_po(file, locale=language.replace("-", "_")):
                # An entry with a plural holds its one Chinese form under both English ones.
                keys = [message.id] if isinstance(message.id, str) else list(message.id)
                strings = message.string or ""
                text = strings if isinstance(strings, str) else strings[0]
                exact |= {key: text for key in keys if key and text}
    bins: dict[str, list[_Template]] = {}
    floating = []
    for english, translation in exact.items():
        if not _PLACE.search(english):
            continue
        template = _template(english, translation)
        if template is None:
            continue
        start = _PLACE.split(english)[0]
        if len(start) >= _KEY:
            bins.setdefault(start[:_KEY], []).append(template)
        else:
            floating.append(template)
    for templates in (*bins.values(), floating):
        templates.sort(key=lambda each: -sum(map(len, each.literals)))
    return Catalogue(exact, bins, floating)


def _template(english: str, translation: str) -> _Template | None:
    """Return how to know a finished text of an entry; None where its text says too little."""
    text = _PLACE.sub("", english)
    letters = sum(map(str.isalpha, text))
    if not letters:
        return None
    # A mark at the right place says as much as a short word.
    letters += 3 * len(re.findall(r"[:;.?()]", text))
    # What little text stands around would fit anything: then a place is one word.
    place = ".*?" if letters >= _LEAST_LETTERS else r"\S*?"
    pattern, literals, seen = "", list[str](), set[str]()
    for number, part in enumerate(_PLACE.split(english)):
        if number % 2 == 0:
            literal = part.replace("{{", "{").replace("}}", "}")
            pattern += re.escape(literal)
            literals += [literal] if literal.strip() else []
        elif part in seen:
            pattern += f"(?P={part})"
        else:
            pattern += f"(?P<{part}>{place})"
            seen.add(part)
    return _Template(re.compile(pattern, re.DOTALL), tuple(literals), translation)


@lru_cache(maxsize=4096)
def _translated(language: str, text: str, depth: int = 0) -> str:
    entries = catalogue(language)
    if text in entries.exact:
        return entries.exact[text]
    if depth > _DEEPEST or " " not in text:
        return text
    for mark, end, here in ((". ", ".", ""), ("; ", "", "；")):
        parts = text.split(mark)
        parts = [f"{part}{end}" for part in parts[:-1]] + parts[-1:]
        shown = [_translated(language, part, depth + 1) for part in parts if len(parts) > 1]
        # Whole sentences first: a place would take several of them.
        if shown and all(map(str.__ne__, shown, parts)):
            return here.join(shown)
    # So are the two sides of a ratio, each of which may be made of parts.
    sides = text.split(_RATIO)
    shown = [_translated(language, side, depth + 1) for side in sides if len(sides) > 1]
    if shown and all(map(str.__ne__, shown, sides)):
        return _RATIO.join(shown)
    matched = entries.template_of(text)
    if matched is not None:
        template, places = matched
        values = {
            # A single word is a name, and no word of kvmlab's.
            name: _translated(language, value, depth + 1) if " " in value else value
            for name, value in places.items()
        }
        return typeset(template.translation.format(**values))
    for mark, here in (("\n", "\n"), ("; ", "；"), (". ", "。")):
        if mark in text:
            shown_parts = _joined(language, text, mark, here, depth)
            if shown_parts != text:
                return shown_parts
    joined = _joints(language, text, depth) or _amount(language, text, depth)
    if joined:
        return joined
    named = _PART.fullmatch(text)
    if named is not None:
        whole, part = (_translated(language, words, depth + 1) for words in named.groups())
        if whole != named[1] or (" " in named[2] and part != named[2]):
            return f"{whole}（{part}）"
    if text.endswith(".") and ". " not in text:
        # A sentence that was put together of a text that is one already.
        bare = _translated(language, text[:-1], depth + 1)
        if bare != text[:-1]:
            return f"{bare}。"
    listed = _list(language, text, depth)
    if listed:
        return listed
    members = _LIST.fullmatch(text)
    if members is not None:
        word = "和" if members["word"] == "and" else "或"
        return f"{members['first'].replace(', ', '、')} {word} {members['last']}"
    return text


def _amount(language: str, text: str, depth: int) -> str:
    """Return the name of a cost of several words, for each packet or megabyte; empty if none."""
    for end in _AMOUNTS:
        entry = catalogue(language).exact.get("".join(("{cost}", end)))
        if entry and text.endswith(end):
            cost = _translated(language, text.removesuffix(end), depth + 1)
            return typeset(entry.format(cost=cost)) if f"{cost}{end}" != text else ""
    return ""


def _joints(language: str, text: str, depth: int) -> str:
    """Return a text of known parts, joined by a known word, translated; empty if it is none.

    "One scheme against another", "bond0 (…), used by vnet0 (…)", and "eth0: what is said of it".
    """
    for joint in _JOINTS:
        parts = text.split(joint)
        shown = [_translated(language, part, depth + 1) for part in parts]
        if len(parts) > 1 and shown != parts:
            return _translated(language, joint).join(shown)
    about = _ABOUT.fullmatch(text)
    if about is not None:
        statement = _translated(language, about[2], depth + 1)
        return f"{about[1]}：{statement}" if statement != about[2] else ""
    return ""


def _list(language: str, text: str, depth: int) -> str:
    """Return a text such as "virtio, QEMU back end" translated part by part; empty if it is none.

    Every part is one word, which stays as it is, since it may be a name, or has an entry.
    """
    parts = text.split(", ")
    shown = [_translated(language, part, depth + 1) if " " in part else part for part in parts]
    known = [
        part != here or part.count(" ") < _NAME_BLANKS
        for part, here in zip(parts, shown, strict=True)
    ]
    return "，".join(shown) if len(parts) > 1 and shown != parts and all(known) else ""


def _joined(language: str, text: str, mark: str, here: str, depth: int) -> str:
    """Translate the parts of a text one by one, and join them as Chinese does."""
    parts = text.split(mark)
    if mark == ". ":
        parts = [f"{part}." for part in parts[:-1]] + parts[-1:]
    translated = [_translated(language, part, depth + 1) for part in parts]
    if mark == "\n":
        return mark.join(translated)
    if translated == parts:
        return text
    if mark == ". ":
        pairs = zip(parts, translated, strict=True)
        return "".join(f"{part} " if part == shown else shown for part, shown in pairs).rstrip()
    return here.join(translated)
