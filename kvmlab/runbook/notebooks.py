"""The lab's notebooks: found by any name a person would use, read with their parameters."""

from __future__ import annotations

import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from difflib import get_close_matches
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from kvmlab.errors import UsageError
from kvmlab.language import ENGLISH, parse_language
from kvmlab.runbook import translation
from kvmlab.runbook.parameters import Parameter, Value, declared
from kvmlab.runbook.translation import Gap


@dataclass(frozen=True)
class Notebook:
    """One notebook on disk, with its title and its parameters.

    ``path`` is the English notebook, which holds the code; ``node`` is the notebook in
    ``language``, and ``gaps`` are the cells that are shown in English for want of a translation.
    """

    path: Path
    title: str
    summary: str
    parameters: tuple[Parameter, ...]
    kernel: str
    node: NotebookNode = field(repr=False, compare=False)
    language: str = ENGLISH
    gaps: tuple[Gap, ...] = ()

    @property
    def name(self) -> str:
        """The file's name without its suffix, such as ``00-packet-path``."""
        return self.path.stem

    def defaults(self) -> dict[str, Value]:
        """Return the default values of the parameters, by name."""
        return {parameter.name: parameter.default for parameter in self.parameters}

    def to_dict(self) -> dict[str, object]:
        """Return the form that ``kvmlab notebooks --json`` prints."""
        return {
            "name": self.name,
            "title": self.title,
            "path": str(self.path),
            "language": self.language,
            "shown_in_english": [asdict(gap) for gap in self.gaps],
            "parameters": [parameter.to_dict() for parameter in self.parameters],
        }


def notebook_folder() -> Path:
    """Return the folder of the lab's own notebooks: in the repository, or as installed.

    Raises:
        UsageError: there are none in either.
    """
    places = (
        Path(__file__).resolve().parents[2] / "notebooks",
        Path(sysconfig.get_path("data")) / "share" / "kvmlab" / "notebooks",
    )
    for place in places:
        if any(place.glob("*.ipynb")):
            return place
    searched = " and ".join(str(place) for place in places)
    raise UsageError(
        f"No notebooks were found in {searched}.",
        todo="Install kvmlab again, or give the path of a notebook.",
    )


def all_notebooks(language: str = ENGLISH) -> tuple[Notebook, ...]:
    """Return all notebooks of the lab, in the article's order.

    Raises:
        UsageError: there are none, or not in this language.
    """
    chosen = parse_language(language)
    return tuple(read(path, chosen) for path in sorted(notebook_folder().glob("*.ipynb")))


def read(path: Path, language: str = ENGLISH) -> Notebook:
    """Read the notebook at ``path``, its prose in ``language`` as far as it is translated.

    Raises:
        UsageError: the file is no notebook, one of its parameters has no type, or its translation
            cannot be read.
    """
    try:
        node = nbformat.read(path, as_version=4)
    except (OSError, ValueError, nbformat.ValidationError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(
            f"{path} cannot be read as a notebook: {reason}.",
            todo="Give the path of an .ipynb file, or a name that `kvmlab notebooks` lists.",
        ) from error
    gaps: tuple[Gap, ...] = ()
    if language != ENGLISH:
        blocks = translation.read(path.parent / language / f"{path.stem}.md")
        node, gaps = translation.merge(node, blocks, language)
    title, summary = _opening(node)
    return Notebook(
        path=path,
        title=title or path.stem,
        summary=summary,
        parameters=declared(path),
        kernel=str(node.metadata.get("kernelspec", {}).get("name", "")),
        node=node,
        language=language,
        gaps=gaps,
    )


def find_notebooks(names: Sequence[str], language: str = ENGLISH) -> tuple[Notebook, ...]:
    """Return the notebooks called ``names``, or all of the lab's when there are none.

    A name is a number (``00``), a name without its number (``packet-path``), the whole name
    (``00-packet-path``, with or without ``.ipynb``) or the path of a notebook.

    Raises:
        UsageError: a name fits no notebook, or more than one, or there is no such language.
    """
    if not names:
        return all_notebooks(language)
    chosen = parse_language(language)
    return tuple(read(_path_of(name), chosen) for name in names)


def _path_of(name: str) -> Path:
    known = {path.stem: path for path in sorted(notebook_folder().glob("*.ipynb"))}
    stem = name.removesuffix(".ipynb")
    if stem in known:
        return known[stem]
    if "/" in name or _is_file(Path(name)):
        return Path(name)
    # Split at the first dash: the number, and the name without its number.
    matches = [path for known_stem, path in known.items() if stem in known_stem.split("-", 1)]
    if len(matches) == 1:
        return matches[0]
    raise _unknown(name, tuple(known))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False  # longer than any name can be


def _unknown(name: str, known: Sequence[str]) -> UsageError:
    words = {word: stem for stem in known for word in (stem, *stem.split("-", 1))}
    near = get_close_matches(name, words, n=1)
    hint = f" Did you mean {words[near[0]]}?" if near else ""
    return UsageError(
        f"There is no notebook {name!r}.{hint}",
        todo=f"The lab has: {', '.join(known)}. The path of any other notebook works too.",
    )


def _opening(node: NotebookNode) -> tuple[str, str]:
    """Return the first heading and the first paragraph under it."""
    for cell in node.cells:
        if cell.cell_type == "markdown" and cell.source.startswith("# "):
            heading, _, rest = cell.source.partition("\n")
            paragraph = rest.strip().split("\n\n")[0]
            return heading.removeprefix("# ").strip(), " ".join(paragraph.split())
    return "", ""


def section_titles(cells: Sequence[Mapping[str, object]]) -> tuple[str, ...]:
    """Return for each cell the heading that it stands under."""
    titles: list[str] = []
    current = ""
    for cell in cells:
        source = str(cell["source"])
        if cell["cell_type"] == "markdown" and source.startswith("#"):
            current = source.partition("\n")[0].lstrip("#").strip()
        titles.append(current)
    return tuple(titles)
