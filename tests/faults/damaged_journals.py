"""Journals of a dead run that were damaged here, on the host, or on both sides."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from kvmlab.changes import restore
from kvmlab.changes.host_lock import FOLDER, read_lab_state
from kvmlab.changes.journal import journal_dir
from kvmlab.errors import KvmlabError, OutputError
from kvmlab.schemes import Virtio
from tests.faults.host_state import differences, read_state
from tests.faults.kill_points import FaultCase, Killer, after
from tests.faults.scene import Scene

Side = Literal["here", "host", "both"]
SIDES: Final[tuple[Side, ...]] = ("here", "host", "both")
_SCHEME: Final = Virtio(backend="vhost")


@dataclass(frozen=True)
class Damage:
    """A kind of damage and the bytes of a damaged copy; None where the file is gone."""

    name: str
    content: bytes | None


def damages(text: str) -> Iterator[Damage]:
    """Yield what crashes, disks and editors make of a journal, for its first lines and its last."""
    whole = text.encode()
    lines = whole.splitlines(keepends=True)
    yield Damage("gone", None)
    yield Damage("empty", b"")
    yield Damage("zeros in its place", bytes(len(whole)))
    yield Damage("noise in its place", random.Random(1).randbytes(4096))
    yield Damage("another's in its place", b'{"format": 1, "host": "x"}\n')
    for number in sorted({0, 1, len(lines) // 2, len(lines) - 1}):
        place = sum(map(len, lines[:number]))
        middle = place + len(lines[number]) // 2
        flipped = bytes((whole[middle] ^ 1,))
        yield Damage(f"cut in line {number + 1}", whole[:middle])
        yield Damage(
            f"a bit of line {number + 1} flipped", whole[:middle] + flipped + whole[middle + 1 :]
        )
        yield Damage(f"line {number + 1} gone", whole[:place] + whole[place + len(lines[number]) :])


def damage_everywhere(
    side: Side, scene: Scene, killing: Killer, tell: Callable[[FaultCase], None], *, start: int = 0
) -> None:
    """Die in use, damage the journal, restore, compare; one case for each damage from ``start`` on.

    With both copies damaged in the same way `restore` has to refuse, and to leave host and copies
    as they are, unless nothing of what counts was lost; it is given one good copy then.
    """
    plan = scene.plan(_SCHEME)
    in_use = killing.apply(plan)["seen"].index("in use")
    killing.apply(plan, in_use)
    count = len(tuple(damages(_text(_copy(scene)))))
    restore(scene.host)
    for number in range(start, count):
        killing.apply(plan, in_use)
        path = _copy(scene)
        text = _text(path)
        damage = tuple(damages(text))[number]
        fault = f"journal damaged ({side}): {damage.name}"
        if side in ("here", "both"):
            _write_here(path, damage.content)
        if side in ("host", "both"):
            _write_there(scene, path.name, damage.content)
        problems = _refused(scene, path, damage, text) if side == "both" else ()
        case = after(_SCHEME.id, fault, scene.host, scene.vm, scene.before)
        if problems and not case.lost:
            case = FaultCase(fault, _SCHEME.id, "not at all", case.message, problems)
        tell(case)
        if case.lost:
            return


def _refused(scene: Scene, path: Path, damage: Damage, text: str) -> tuple[str, ...]:
    """Restore from two damaged copies; return what is wrong afterwards, and mend one copy.

    What is wrong: the host was changed although restore refused, or restore took part of the
    journal for the whole, or a copy is lost.
    """
    applied = read_state(scene.host, scene.vm)
    problems = []
    try:
        restore(scene.host)
    except OutputError:
        if differences(applied, read_state(scene.host, scene.vm)):
            problems.append("refused, and changed the host")
        if damage.content is not None:
            if not path.exists():
                problems.append("the damaged copy here is lost")
            if path.name not in read_lab_state(scene.host).journals:
                problems.append("the damaged copy on the host is lost")
    except KvmlabError as error:
        problems.append(f"another refusal than that of a damaged journal: {error}")
    # A copy of which the host's list of what was undone speaks is used no more.
    undone = Path(FOLDER, "undone")
    scene.on_host("sh", "-c", '! test -f "$0" || sed -i "/^$1\\$/d" "$0"', str(undone), path.name)
    _write_there(scene, path.name, text.encode())
    return tuple(problems)


def _copy(scene: Scene) -> Path:
    """Return the journal of the dead run on this machine, the newest."""
    return max(journal_dir(scene.host).glob("*.jsonl"))


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _write_here(path: Path, content: bytes | None) -> None:
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)


def _write_there(scene: Scene, name: str, content: bytes | None) -> None:
    path = f"{FOLDER}/journal/{name}"
    if content is None:
        scene.on_host("rm", path)
        return
    octal = "".join(f"\\{byte:03o}" for byte in content)
    scene.on_host("sh", "-s", text=f"printf '{octal}' >{path}\n")
