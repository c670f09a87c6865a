"""Texts of the package that people read, and the catalogue's entries for them.

``python -m tests.language.messages`` adds what is missing to ``kvmlab/locale/*/*.po`` (with an
empty translation), takes out what is gone, and prints both.
"""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po, write_po
from jinja2 import Environment
from jinja2.ext import extract_from_ast

from kvmlab.language import LANGUAGES
from tests.house.tree import PACKAGE, ROOT

LOCALE = PACKAGE / "locale"
NOT_SHOWN = Path(__file__).with_name("not_shown.txt")
#: Calls whose text is shown, however short it is.
_SHOWN = frozenset({"_", "translate", "N_"})
#: Calls whose first argument holds headings, of one word most of them.
_HEADED = frozenset({"print_table"})
#: Texts that stand beside their Chinese in the code.
_BILINGUAL = frozenset({"Bilingual"})
#: Files with programs and data of other languages.
_FOREIGN = (
    "embedded/emulator_files",
    "measure/ebpf",
    "locale/",
    "course/tasks/",
    "course/questions/",
)
#: Rooms that only draw: there two words are a label.
_LABELS = frozenset({"report", "widgets", "cli"})
# Without dates, so that two branches that add entries merge.
_HEADER = """\
msgid ""
msgstr ""
"Language: {locale}\\n"
"Plural-Forms: nplurals=1; plural=0;\\n"
"Content-Type: text/plain; charset=utf-8\\n"

"""
_HAN = re.compile("[\u3400-\u9fff]")
_WORD = re.compile(r"(?<![\w/<.=-])[A-Za-z][a-z']+(?![\w/=])")
_DOCUMENTED = re.compile(r"\.command\(|\.callback\(")


@dataclass(frozen=True)
class Message:
    """A text, its plural where it has one, and where it stands."""

    text: str
    plural: str
    place: str
    room: str


def messages() -> Iterator[Message]:
    """Yield every text that people read, in the order of the files."""
    for path in sorted(PACKAGE.rglob("*.py")):
        if not any(part in path.as_posix() for part in _FOREIGN):
            yield from _of_module(path)
    for path in sorted(PACKAGE.rglob("*.j2")):
        yield from _of_template(path)
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        yield from _of_notebook(path)


def not_shown() -> frozenset[str]:
    """Return the texts that look like prose and are read by no person: commands, patterns, XML."""
    return frozenset(
        ast.literal_eval(line) for line in NOT_SHOWN.read_text().splitlines() if line.strip()
    )


def _room(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def _of_module(path: Path) -> Iterator[Message]:
    room, place = _room(path), path.relative_to(ROOT).as_posix()
    least = 2 if room in _LABELS else 3
    for text, plural, _line in _of_tree(ast.parse(path.read_text()), least):
        yield Message(text, plural, place, room)


def _of_tree(tree: ast.AST, least: int) -> Iterator[tuple[str, str, int]]:
    paired = _paired(tree)

    def visit(node: ast.AST) -> Iterator[tuple[str, str, int]]:
        if isinstance(node, ast.Assert) or (
            isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        ):
            return  # a docstring, also that of an attribute
        if isinstance(node, ast.FunctionDef) and any(
            _DOCUMENTED.search(ast.unparse(each)) for each in node.decorator_list
        ):
            for paragraph in (ast.get_docstring(node) or "").split("\n\n"):
                yield " ".join(paragraph.split()), "", node.lineno
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func).rpartition(".")[2]
            first = _text(node.args[0]) if node.args else None
            if name in _SHOWN and first is not None:
                yield first, "", node.lineno
                for argument in (*node.args[1:], *node.keywords):
                    yield from visit(argument)
                return
            if name in _BILINGUAL:
                return  # it has its own Chinese
            if name == "rows":
                # The columns of `tables.rows` are names of fields.
                for column in node.args[1:]:
                    yield (_text(column) or "").replace("_", " "), "", node.lineno
            if name in _HEADED and node.args:
                for heading in _headings(node.args[0]):
                    yield heading, "", node.lineno
                for argument in (*node.args[1:], *node.keywords):
                    yield from visit(argument)
                return
            if name == "ngettext":
                yield _text(node.args[0]) or "", _text(node.args[1]) or "", node.lineno
                return
        if id(node) in paired:
            return
        text = _text(node)
        if text is not None:
            if is_prose(text, least):
                yield text, "", getattr(node, "lineno", 0)
            if isinstance(node, ast.JoinedStr):
                for value in node.values:
                    if isinstance(value, ast.FormattedValue):
                        yield from visit(value.value)
            return
        for child in ast.iter_child_nodes(node):
            yield from visit(child)

    yield from visit(tree)


def _headings(node: ast.AST) -> Iterator[str]:
    """Yield the texts of a table's columns, however short they are."""
    text = _text(node)
    if text is not None:
        if text.strip():
            yield text
        return
    for child in ast.iter_child_nodes(node):
        yield from _headings(child)


def _paired(tree: ast.AST) -> set[int]:
    """Return the ids of the nodes of texts that stand beside their Chinese, and of that Chinese."""
    ids: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            members = [*node.args, *(keyword.value for keyword in node.keywords)]
        elif isinstance(node, ast.Tuple | ast.List):
            members = node.elts
        elif isinstance(node, ast.Dict):
            members = node.values
        else:
            continue
        for english, chinese in itertools.pairwise(members):
            if _HAN.search(_text(chinese) or "") and not _HAN.search(_text(english) or ""):
                ids |= {id(english), id(chinese)}
    return ids


def is_prose(text: str, least: int) -> bool:
    """Return whether a text has so many words of a sentence."""
    bare = re.sub(r"`[^`]*`|\{\w*\}|'[^']*'", "X", text)
    return len(_WORD.findall(bare)) >= least and " " in bare


def _text(node: ast.AST) -> str | None:
    """Return the text of a string or f-string, with named places; None for anything else."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if not isinstance(node, ast.JoinedStr):
        return None
    text, names = "", dict[str, str]()
    for value in node.values:
        if isinstance(value, ast.Constant):
            text += str(value.value).replace("{", "{{").replace("}", "}}")
        elif isinstance(value, ast.FormattedValue):
            source = ast.unparse(value)
            if source not in names:
                name = base = _name(value.value) or "value"
                number = 2
                while name in names.values():
                    name, number = f"{base}{number}", number + 1
                names[source] = name
            text += "{" + names[source] + "}"
    return text


def _name(node: ast.AST) -> str:
    """Return a name for what an expression puts into a text."""
    match node:
        case ast.Name(id=name):
            return name.strip("_")
        case ast.Attribute(attr=name):
            return name.strip("_")
        case ast.Subscript(value=value):
            return _name(value)
        case ast.Call(func=function, args=arguments):
            inner = _name(arguments[-1]) if arguments else ""
            return inner or _name(function)
        case ast.BoolOp(values=[first, *_]):
            return _name(first)
        case ast.IfExp(body=body, orelse=other):
            return _name(body) or _name(other) or "ending"
        case ast.BinOp(left=left):
            return _name(left)
        case ast.GeneratorExp(elt=element) | ast.ListComp(elt=element):
            return _name(element)
        case ast.JoinedStr(values=values):
            return next((_name(v.value) for v in values if isinstance(v, ast.FormattedValue)), "")
    return ""


def _of_template(path: Path) -> Iterator[Message]:
    tree = Environment(extensions=["jinja2.ext.i18n"]).parse(path.read_text())
    for _line, _function, texts in extract_from_ast(tree, gettext_functions=("_", "ngettext")):
        text, plural = texts if isinstance(texts, tuple) else (texts, "")
        if isinstance(text, str):
            yield Message(text, plural or "", path.relative_to(ROOT).as_posix(), _room(path))


def _of_notebook(path: Path) -> Iterator[Message]:
    place = path.relative_to(ROOT).as_posix()
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type != "code":
            continue
        for text, plural, _line in _of_tree(ast.parse(cell.source), 2):
            yield Message(text, plural, place, "notebooks")
        if "parameters" in cell.metadata.get("tags", ()):
            for comment in re.findall(r"#\s*(.+)$", cell.source, re.M):
                yield Message(comment.strip(), "", place, "notebooks")


def by_room() -> dict[str, list[Message]]:
    """Return the messages by room, each text once: in the first room that has it."""
    skipped, seen, rooms = not_shown() | {""}, set[str](), dict[str, list[Message]]()
    for message in messages():
        if message.text not in skipped and message.text not in seen:
            seen.add(message.text)
            rooms.setdefault(message.room, []).append(message)
    return rooms


def main() -> None:
    """Bring the catalogues up to date and print what changed."""
    for language in LANGUAGES[1:]:
        for room, entries in by_room().items():
            _update(LOCALE / language / f"{room.removesuffix('.py')}.po", language, entries)


def _update(path: Path, language: str, entries: list[Message]) -> None:
    locale = language.replace("-", "_")
    known: dict[object, Any] = {}
    if path.exists():
        with path.open("rb") as file:
            known = {message.id: message.string for message in read_po(file, locale=locale)}
    fresh = Catalog(locale=locale, charset="utf-8")
    for entry in entries:
        key: Any = (entry.text, entry.plural) if entry.plural else entry.text
        if key not in known:
            print(f"{path.name}: new: {entry.text}")
        fresh.add(key, known.pop(key, "" if isinstance(key, str) else ("",)))
    for key in known:
        if key:
            print(f"{path.name}: gone: {key}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(_HEADER.format(locale=locale).encode())
        write_po(file, fresh, width=0, no_location=True, omit_header=True)


if __name__ == "__main__":
    main()
