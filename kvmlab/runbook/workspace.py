"""The working copy of the notebooks that JupyterLab opens, one folder for each language.

Running a notebook writes its outputs into its file, so a person works on a copy and the files of
the repository stay as they are. A copy is written anew when kvmlab has a newer notebook; what a
person changed or ran in the older one is kept beside it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from kvmlab.directories import data_dir, write_atomically
from kvmlab.errors import UsageError, reason_of
from kvmlab.language import ENGLISH
from kvmlab.runbook import reference_pages
from kvmlab.runbook.notebooks import Notebook, all_notebooks, find_notebooks, notebook_folder

Say = Callable[[str], None]
_DIGEST = "digest"


def workspace_folder(language: str) -> Path:
    """Return ``~/.local/share/kvmlab/notebooks/LANGUAGE``, or its like below ``XDG_DATA_HOME``."""
    return data_dir() / "notebooks" / language


def file_to_open(name: str, language: str, *, say: Say) -> Path:
    """Return the file of the notebook called ``name``, in ``language``, for JupyterLab.

    All notebooks of the lab are put into :func:`workspace_folder` first. An English notebook that
    is not one of the lab's is opened where it is.

    Raises:
        UsageError: there is no such notebook or language, or the folder cannot be written.
    """
    (notebook,) = find_notebooks([name], language)
    if notebook.language == ENGLISH and notebook.path.resolve().parent != notebook_folder():
        return notebook.path
    others = [other for other in all_notebooks(notebook.language) if other.name != notebook.name]
    opened, *_ = assemble([notebook, *others], workspace_folder(notebook.language), say)
    say(f"The notebooks are in {opened.parent}.")
    return opened


def assemble(notebooks: Sequence[Notebook], folder: Path, say: Say) -> tuple[Path, ...]:
    """Write the notebooks that are new or changed into ``folder`` and return their paths there.

    Raises:
        UsageError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _put_reference_pages(folder, notebooks[0].language)
        return tuple(_put(book, folder / book.path.name, say) for book in notebooks)
    except OSError as error:
        raise UsageError(
            f"The notebooks cannot be written to {folder}: {reason_of(error)}.",
            todo="Free that folder, or choose another place by the variable XDG_DATA_HOME.",
        ) from error


def _put_reference_pages(folder: Path, language: str) -> None:
    """Write the glossary and the primer, to which the notebooks link."""
    write_atomically(folder / reference_pages.GLOSSARY, reference_pages.glossary_page(language))
    write_atomically(folder / reference_pages.PRIMER, reference_pages.primer_page(language))
    write_atomically(folder / "primer.svg", reference_pages.primer_drawing(language))


def _put(book: Notebook, path: Path, say: Say) -> Path:
    node = nbformat.from_dict(deepcopy(book.node))
    reference_pages.linked(node, book.language)
    digest = _digest_of(node)
    node.metadata["kvmlab"] = NotebookNode({**node.metadata.get("kvmlab", {}), _DIGEST: digest})
    if path.exists():
        copy = _read(path)
        if copy is not None and _source_digest(copy) == digest:
            return path
        if copy is None or _is_somebodys_work(copy):
            aside = _free_name(path)
            path.rename(aside)
            say(f"{path.name} is newer now; yours is kept as {aside.name}.")
    write_atomically(path, nbformat.writes(node) + "\n")
    return path


def _read(path: Path) -> NotebookNode | None:
    try:
        node: NotebookNode = nbformat.read(path, as_version=4)
    except (ValueError, nbformat.ValidationError):
        return None
    return node


def _source_digest(node: NotebookNode) -> str:
    """Return the digest that the copy was written with; empty where it has none."""
    return str(node.metadata.get("kvmlab", {}).get(_DIGEST, ""))


def _digest_of(node: NotebookNode) -> str:
    """Return a digest of the cells without their outputs, 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for cell in node.cells:
        for part in (cell.cell_type, cell.source):
            digest.update(part.encode())
            digest.update(b"\0")
    return digest.hexdigest()[:16]


def _is_somebodys_work(node: NotebookNode) -> bool:
    ran = any(cell.get("outputs") for cell in node.cells)
    return ran or _digest_of(node) != _source_digest(node)


def _free_name(path: Path) -> Path:
    number = 1
    while (free := path.with_name(f"{path.stem}.kept-{number}{path.suffix}")).exists():
        number += 1
    return free
