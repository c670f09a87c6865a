"""The notebooks there are, by any name a person would use, and the parameters each declares."""

from __future__ import annotations

import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from difflib import get_close_matches
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from kvmlab.errors import UsageError
from kvmlab.runbook import translation
from kvmlab.runbook.parameters import Parameter, declared
from kvmlab.runbook.translation import ENGLISH, Gap


@dataclass(frozen=True)
class Notebook:
    """One notebook on disk: its title and its parameters, before anything runs.

    ``path`` is the English notebook, which holds the code; ``node`` the notebook in ``language``,
    with ``gaps`` where a cell stays English.
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
        """``00-packet-path``: the file's name, and what a run calls this notebook."""
        return self.path.stem

    def defaults(self) -> dict[str, object]:
        """The values that the parameters cell gives."""
        return {parameter.name: parameter.default for parameter in self.parameters}

    def to_dict(self) -> dict[str, object]:
        """What ``kvmlab notebooks --json`` prints."""
        return {
            "name": self.name,
            "title": self.title,
            "path": str(self.path),
            "language": self.language,
            "shown_in_english": [asdict(gap) for gap in self.gaps],
            "parameters": [parameter.to_dict() for parameter in self.parameters],
        }


def folder() -> Path:
    """Where the lab's own notebooks are: in the repository, or where the package installed them.

    Raises:
        UsageError: neither place has any.
    """
    places = (
        Path(__file__).resolve().parents[2] / "notebooks",
        Path(sysconfig.get_path("data")) / "share" / "kvmlab" / "notebooks",
    )
    for place in places:
        if any(place.glob("*.ipynb")):
            return place
    looked = " and ".join(str(place) for place in places)
    raise UsageError(
        f"No notebooks were found in {looked}.",
        todo="Install kvmlab again, or give the path of a notebook.",
    )


def languages() -> tuple[str, ...]:
    """The languages that the lab's prose is kept in, English first."""
    return (ENGLISH, *sorted({path.parent.name for path in folder().glob("*/*.md")}))


def language_called(name: str) -> str:
    """The language of the lab called ``name``; ``zh`` and ``zh_cn`` are names of ``zh-CN``.

    Raises:
        UsageError: the lab's prose is not kept in it.
    """
    wanted = name.replace("_", "-").lower()
    for language in languages():
        if wanted in (language.lower(), language.lower().split("-")[0]):
            return language
    raise UsageError(
        f"The notebooks are not kept in the language {name!r}.",
        todo=f"Their languages are: {', '.join(languages())}.",
    )


def everything(language: str = ENGLISH) -> tuple[Notebook, ...]:
    """All notebooks of the lab, in the article's order.

    Raises:
        UsageError: there are none, or not in this language.
    """
    chosen = language_called(language)
    return tuple(read(path, chosen) for path in sorted(folder().glob("*.ipynb")))


def read(path: Path, language: str = ENGLISH) -> Notebook:
    """The notebook at ``path``, its prose in ``language`` as far as it is translated.

    Raises:
        UsageError: the file is no notebook, a parameter of it is not declared as it must be, or
            its translation cannot be read.
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


def find(names: Sequence[str], language: str = ENGLISH) -> tuple[Notebook, ...]:
    """The notebooks called ``names``, or all of the lab's when there are none.

    A name is a number (``00``), a name without its number (``packet-path``), the whole name
    (``00-packet-path``, with or without ``.ipynb``) or the path of a notebook.

    Raises:
        UsageError: a name fits no notebook, or more than one, or there is no such language.
    """
    if not names:
        return everything(language)
    chosen = language_called(language)
    return tuple(read(_path_of(name), chosen) for name in names)


def _path_of(name: str) -> Path:
    known = {path.stem: path for path in sorted(folder().glob("*.ipynb"))}
    wanted = name.removesuffix(".ipynb")
    if wanted in known:
        return known[wanted]
    if "/" in name or _is_file(Path(name)):
        return Path(name)
    fitting = [
        stem
        for stem in known
        if stem.split("-", 1)[0] == wanted or stem.split("-", 1)[-1] == wanted
    ]
    if len(fitting) == 1:
        return known[fitting[0]]
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
    """The first heading and the first paragraph under it."""
    for cell in node.cells:
        if cell.cell_type == "markdown" and cell.source.startswith("# "):
            heading, _, rest = cell.source.partition("\n")
            paragraph = rest.strip().split("\n\n")[0]
            return heading.removeprefix("# ").strip(), " ".join(paragraph.split())
    return "", ""


def section_titles(cells: Sequence[Mapping[str, object]]) -> tuple[str, ...]:
    """For every cell the heading it stands under: what a progress line calls that cell."""
    titles: list[str] = []
    current = ""
    for cell in cells:
        source = str(cell["source"])
        if cell["cell_type"] == "markdown" and source.startswith("#"):
            current = source.partition("\n")[0].lstrip("#").strip()
        titles.append(current)
    return tuple(titles)
