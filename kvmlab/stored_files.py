"""Stored folders (a run, a rollout): checksums, and reading what a stranger may have written.

Nothing outside the folder is read or written: a name is one path component, no symbolic link is
followed, and what is no regular file (a device, a FIFO) is not opened.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from nbformat import NotebookNode

SEALED_FORMAT: Final = 2
"""Formats from this one on carry a checksum."""
_SUM: Final = "sha256"
_MAX_BYTES: Final = 512 * 1024 * 1024
_MAX_NAME_BYTES: Final = 255
#: A run of notebooks: RUN/results/NOTEBOOK/TIME. A fleet's: RUN/hosts/HOST/… above that.
_MAX_DEPTH: Final = 8


def checked_name(name: object) -> str:
    """Return ``name`` if it is one component of a path, of printable characters.

    Raises:
        ValueError: it is something else.
    """
    if (
        not isinstance(name, str)
        or name in ("", ".", "..")
        or "/" in name
        or not name.isprintable()
        or len(name.encode()) > _MAX_NAME_BYTES
    ):
        raise ValueError(f"{str(name)[:80]!r} is no file name")
    return name


def read_file(folder: Path, *names: str) -> str:
    """Return the text of the file ``folder/names…``.

    ``folder`` itself may be reached by a symbolic link; below it none is followed.

    Raises:
        OSError: it cannot be read, or is no regular file.
        ValueError: a name leaves the folder, the file is too large, or it is not UTF-8.
    """
    *above, last = (checked_name(name) for name in names)
    with _opened_folder(folder, above) as place:
        _require_regular(os.stat(last, dir_fd=place, follow_symlinks=False))
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
        with os.fdopen(os.open(last, flags, dir_fd=place), "rb") as file:
            # It may be another one since.
            status = os.fstat(file.fileno())
            _require_regular(status)
            if status.st_size > _MAX_BYTES:
                raise ValueError(f"{last} has {status.st_size} bytes; {_MAX_BYTES} are read")
            return file.read(_MAX_BYTES).decode()


def read_notebook(folder: Path, *names: str) -> NotebookNode:
    """Return the notebook in the file ``folder/names…``, of the newest format and valid.

    Raises:
        OSError: as `read_file`.
        ValueError: as `read_file`, or it is no notebook.
    """
    import nbformat

    text = read_file(folder, *names)
    if not isinstance(parse_json(text), dict):
        raise ValueError("it is no notebook")  # noqa: TRY004 - damaged data, no programming error
    try:
        node: NotebookNode = nbformat.reads(text, as_version=nbformat.current_nbformat)
        nbformat.validate(node)
    except (nbformat.ValidationError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"it is no notebook: {str(error)[:200]}") from error
    return node


@contextmanager
def _opened_folder(folder: Path, names: list[str]) -> Iterator[int]:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    place = os.open(folder, flags)
    try:
        for name in names:
            inner = os.open(name, flags | os.O_NOFOLLOW, dir_fd=place)
            os.close(place)
            place = inner
        yield place
    finally:
        os.close(place)


def _require_regular(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is no regular file")


def is_present(folder: Path, name: str) -> bool:
    """Return whether ``folder`` has an entry of that name, of whatever kind."""
    return os.path.lexists(folder / name)


def folders_with(folder: Path, names: frozenset[str]) -> tuple[Path, ...]:
    """Return ``folder`` and the folders below it that have an entry of one of these names.

    No symbolic link is followed, and no folder deeper than eight levels is looked into.
    """
    folders = []
    for place, inner, files in os.walk(folder, followlinks=False):
        depth = len(Path(place).relative_to(folder).parts)
        if depth >= _MAX_DEPTH:
            inner.clear()
        if not names.isdisjoint({*files, *inner}):
            folders.append(Path(place))
    return tuple(sorted(folders))


def parse_json(text: str) -> Any:
    """Parse JSON; NaN and infinities are no JSON.

    Raises:
        ValueError: it is no JSON, or nested too deeply.
    """
    try:
        return json.loads(text, parse_constant=_no_constant)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON")


def sealed(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return plain JSON values with their checksum."""
    return {**document, _SUM: _checksum(document)}


def parse_sealed(text: str, *, unsealed_formats: tuple[int, ...] = (1,)) -> dict[str, Any]:
    """Return the document that :func:`sealed` made, parsed from JSON, without its checksum.

    A document whose ``format`` is one of ``unsealed_formats``, of older versions, has none.

    Raises:
        ValueError: the text is damaged, or of an unknown format.
    """
    document = parse_json(text)
    if not isinstance(document, dict):
        raise ValueError("it is no JSON object")  # noqa: TRY004 - damaged data, no programming error
    kind = document.get("format", 1)
    if type(kind) is int and kind in unsealed_formats and _SUM not in document:
        return document
    if kind != SEALED_FORMAT or type(kind) is not int:
        raise ValueError(f"it is of format {str(kind)[:20]}; this kvmlab reads {SEALED_FORMAT}")
    checksum = document.pop(_SUM, None)
    if checksum != _checksum(document):
        raise ValueError("its checksum is wrong")
    return document


def _checksum(document: Mapping[str, Any]) -> str:
    try:
        text = json.dumps(document, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def text_checksum(text: str) -> str:
    """Return the checksum of a file's text."""
    return hashlib.sha256(text.encode()).hexdigest()


def origin(folder: Path, controller: str) -> str:
    """Return why a run is not this user's own, as a phrase; "" where it is.

    ``controller`` is what the run says of the machine and user that made it, "" where it says
    nothing.
    """
    try:
        owner = folder.stat().st_uid
    except OSError:
        return "it cannot be read"
    if owner != os.geteuid():
        return f"it belongs to user {owner}"
    if controller and controller != controller_id():
        return "it was copied from another machine or user"
    return ""


def controller_id() -> str:
    """Return what identifies this machine and user in a run, without telling the machine's id."""
    try:
        machine = Path("/etc/machine-id").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        machine = ""
    text = f"kvmlab run {machine or os.uname().nodename} {os.geteuid()}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]
