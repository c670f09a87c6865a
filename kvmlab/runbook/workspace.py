"""A folder of assembled notebooks to work in, for languages other than English.

JupyterLab needs files. A notebook here is written anew when kvmlab has a newer one; what a person
has changed or run in the older one is kept beside it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from kvmlab.errors import UsageError
from kvmlab.runbook.notebooks import Notebook, everything, find
from kvmlab.runbook.translation import ENGLISH

Say = Callable[[str], None]
_DIGEST = "digest"


def place(language: str) -> Path:
    """``~/.local/share/kvmlab/notebooks/zh-CN``, or below ``XDG_DATA_HOME``."""
    base = os.environ.get("XDG_DATA_HOME", "")
    data = Path(base) if base.startswith("/") else Path.home() / ".local" / "share"
    return data / "kvmlab" / "notebooks" / language


def file_to_open(name: str, language: str, *, say: Say) -> Path:
    """The file of the notebook called ``name``, in ``language``, for JupyterLab.

    An English notebook is opened where it is; in another language all of the lab's are put
    together in :func:`place` first.

    Raises:
        UsageError: there is no such notebook or language, or the folder cannot be written.
    """
    (book,) = find([name], language)
    if book.language == ENGLISH:
        return book.path
    others = [other for other in everything(book.language) if other.name != book.name]
    opened, *_ = assemble([book, *others], place(book.language), say)
    say(f"The notebooks are in {opened.parent}.")
    return opened


def assemble(notebooks: Sequence[Notebook], folder: Path, say: Say) -> tuple[Path, ...]:
    """Put the notebooks into ``folder`` and return their paths there.

    Raises:
        UsageError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return tuple(_put(book, folder / book.path.name, say) for book in notebooks)
    except OSError as error:
        raise UsageError(
            f"The notebooks cannot be written to {folder}: {error.strerror or error}.",
            todo="Free that folder, or choose another place by the variable XDG_DATA_HOME.",
        ) from error


def _put(book: Notebook, path: Path, say: Say) -> Path:
    node = nbformat.from_dict(book.node)
    digest = _digest_of(node)
    node.metadata["kvmlab"] = NotebookNode({**node.metadata.get("kvmlab", {}), _DIGEST: digest})
    if path.exists():
        there = _read(path)
        if there is not None and _made_from(there) == digest:
            return path
        if there is None or _is_somebodys_work(there):
            kept = _free_name(path)
            path.rename(kept)
            say(f"{path.name} is newer now; yours is kept as {kept.name}.")
    part = path.with_name(f"{path.name}.part")
    nbformat.write(node, part)
    part.replace(path)
    return path


def _read(path: Path) -> NotebookNode | None:
    try:
        found: NotebookNode = nbformat.read(path, as_version=4)
    except (ValueError, nbformat.ValidationError):
        return None
    return found


def _made_from(node: NotebookNode) -> str:
    return str(node.metadata.get("kvmlab", {}).get(_DIGEST, ""))


def _digest_of(node: NotebookNode) -> str:
    """Stands for what kvmlab writes: the cells, without what running them adds."""
    digest = hashlib.sha256()
    for cell in node.cells:
        for part in (cell.cell_type, cell.source):
            digest.update(part.encode())
            digest.update(b"\0")
    return digest.hexdigest()[:16]


def _is_somebodys_work(node: NotebookNode) -> bool:
    ran = any(cell.get("outputs") for cell in node.cells)
    return ran or _digest_of(node) != _made_from(node)


def _free_name(path: Path) -> Path:
    number = 1
    while (kept := path.with_name(f"{path.stem}.kept-{number}{path.suffix}")).exists():
        number += 1
    return kept
