"""Every fault on a stranger's host: kill -9 at every moment of every scheme, and others.

An embedded host is reached as anybody's host is, by a URI and an ssh configuration. After each
fault `kvmlab restore` runs, and the host's inspection is compared with that of before. The table
says how many faults were tried, how many were recovered from, and how many hosts were lost.

``python -m bench faults`` tries each row of the table that is not yet complete at this revision,
and can be ended at any time: the next call continues after the last fault that was tried. With
``--minutes N`` it begins no fault after so many minutes; calls beside each other share the rows.
``--only NAME`` tries that scheme or fault, or those whose names hold the word, ``--anew`` also
what is complete; ``--table`` prints what is kept.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from bench._harness import RESULTS, ROOT, _machine
from bench._restarted_host import WHERE, restarted_host
from kvmlab.errors import KvmlabError
from kvmlab.file_locks import FileLock
from tests.faults.broken_connection import FAULTS, try_fault
from tests.faults.damaged_journals import SIDES, Side, damage_everywhere
from tests.faults.hostile_replies import every_hostile_reply
from tests.faults.kill_points import (
    SCHEMES,
    FaultCase,
    Killer,
    kill_everywhere,
    kill_restore_everywhere,
    killer,
)
from tests.faults.rollback import ROLLBACKS, roll_back
from tests.faults.scene import Scene
from tests.faults.stranger import stranger
from tests.faults.timeouts import Way, every_timeout

PATH = RESULTS / "faults.json"
HOWS = ("at once", "by restore", "by the host")
RESTORE = "kill -9 at every moment of restore itself (sriov-vf, dead in use)"
HOSTILE = "hostile reply to every command of virtio-vhost"
TIMEOUTS: Mapping[str, Way] = {
    "timeout at every command of virtio-vhost, before its effect": "before",
    "timeout at every command of virtio-vhost, after its effect": "after",
    "timeout at every command of virtio-vhost, which goes on": "unheard",
}
Tell = Callable[[FaultCase], None]


class PartOver(Exception):
    """The time of this part is over; the next one continues."""


class Bed:
    """A stranger's host, started when it is first needed, and the process that is killed on it."""

    def __init__(self) -> None:
        self._open, self._open_killer = ExitStack(), ExitStack()
        self._scene: Scene | None = None
        self._killer: Killer | None = None

    @property
    def scene(self) -> Scene:
        """The host at rest."""
        if self._scene is None:
            self._scene = self._open.enter_context(_scene())
        return self._scene

    @property
    def killer(self) -> Killer:
        """The process that is killed."""
        if self._killer is None:
            assert self.scene  # opened first: its environment is that of the killer
            self._killer = self._open_killer.enter_context(killer(ROOT))
        return self._killer

    def end_killer(self) -> None:
        """End the process that is killed: what follows cuts its connections too."""
        self._killer = None
        self._open_killer.close()

    def close(self) -> None:
        """End the host; the next fault begins on another one."""
        self.end_killer()
        self._scene = None
        self._open.close()


#: Tries the faults of one row from that number on.
Attempt = Callable[[Bed, int, Tell], object]


def _kill_everywhere(name: str, bed: Bed, start: int, tell: Tell) -> None:
    kill_everywhere(name, bed.scene.host, bed.killer, tell, start=start)


def _kill_restore(bed: Bed, start: int, tell: Tell) -> None:
    kill_restore_everywhere(bed.scene.host, bed.killer, tell, start=start)


def _one(name: str, bed: Bed, start: int, tell: Tell) -> None:
    bed.end_killer()
    tell(try_fault(name, bed.scene))


def _time_out(way: Way, bed: Bed, start: int, tell: Tell) -> None:
    every_timeout(bed.scene, bed.scene.plan(), way, tell, start=start)


def _answer_nonsense(bed: Bed, start: int, tell: Tell) -> None:
    every_hostile_reply(bed.scene, bed.scene.plan(), tell, start=start)


def _damage(side: Side, bed: Bed, start: int, tell: Tell) -> None:
    damage_everywhere(side, bed.scene, bed.killer, tell, start=start)


def _roll_back(name: str, bed: Bed, start: int, tell: Tell) -> None:
    bed.end_killer()
    rollback = roll_back(name, bed.scene)
    tell(replace(rollback.case, message=f"{rollback.seconds:.0f} s"))


def _restart(bed: Bed, start: int, tell: Tell) -> None:
    bed.close()  # its hosts are others
    restarted_host(ROOT, tell)


ROWS: Mapping[str, Attempt] = {
    **{name: partial(_kill_everywhere, name) for name in SCHEMES},
    RESTORE: _kill_restore,
    **{name: partial(_one, name) for name in FAULTS},
    **{f"journal of a dead run damaged: {side}": partial(_damage, side) for side in SIDES},
    **{name: partial(_time_out, way) for name, way in TIMEOUTS.items()},
    HOSTILE: _answer_nonsense,
    **{name: partial(_roll_back, name) for name in ROLLBACKS},
    WHERE: _restart,
}


def main(argv: Sequence[str] | None = None) -> None:
    """Try the requested faults, write their outcomes, print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench faults")
    parser.add_argument("--only", action="append", default=[], metavar="WORD")
    parser.add_argument("--count", type=int, default=1, help="how often each is tried")
    parser.add_argument("--anew", action="store_true", help="also what is complete")
    parser.add_argument("--minutes", type=float, metavar="N", help="begin none after so many")
    parser.add_argument("--table", action="store_true", help="print what is kept, try nothing")
    chosen = parser.parse_args(argv)
    if not chosen.table:
        names = [name for name in ROWS if _is_requested(name, chosen.only)]
        end = time.monotonic() + 60 * chosen.minutes if chosen.minutes else float("inf")
        for number in range(chosen.count):
            _try(names, end, anew=chosen.anew or number > 0)
    print("\n".join(table(_kept()["groups"])))


def _try(names: Sequence[str], end: float, *, anew: bool) -> None:
    RESULTS.mkdir(parents=True, exist_ok=True)
    bed = Bed()
    try:
        for name in names:
            digest = hashlib.sha256(name.encode()).hexdigest()[:12]
            claim = FileLock.take(RESULTS / f".faults-{digest}.lock")
            if claim is None:
                continue  # a call beside this one tries it
            with claim:
                _try_row(name, bed, end, anew=anew)
    except PartOver:
        print("  the time of this part is over", file=sys.stderr, flush=True)
    finally:
        bed.close()


def _try_row(name: str, bed: Bed, end: float, *, anew: bool) -> None:
    """Try what is left of one row of the table; what cannot be tried counts as lost."""
    kept = _kept()["groups"].get(name, {})
    same = kept.get("revision") == _machine()["revision"] and not anew
    if same and kept["complete"]:
        return
    goes_on = same and name not in _WHOLE
    cases = [_case(fields) for fields in kept["cases"]] if goes_on else []

    def tell(case: FaultCase) -> None:
        left = f" LEFT: {'; '.join(case.left)}" if case.lost else ""
        print(f"  {case.where} {case.fault}: {case.how}{left}", file=sys.stderr, flush=True)
        if case.fault != "nothing" or case.lost:  # applying and reverting in peace is no fault
            cases.append(case)
            _keep(name, cases, complete=False)
        if time.monotonic() > end and not case.lost and name not in _WHOLE:
            raise PartOver

    if time.monotonic() > end:
        raise PartOver
    begin = time.monotonic()
    try:
        ROWS[name](bed, len(cases), tell)
    except (KvmlabError, AssertionError) as error:
        tell(FaultCase(name, "", "not at all", str(error) or "a step of it failed"))
    _keep(name, cases, complete=True)
    print(f"  {time.monotonic() - begin:.0f} s for {name}", file=sys.stderr, flush=True)
    if any(case.lost for case in cases):
        bed.close()


#: Rows that are tried in one piece: one fault each, or several on one host.
_WHOLE = {*FAULTS, *ROLLBACKS, WHERE}


def _is_requested(name: str, only: Sequence[str]) -> bool:
    return not only or any(name == word if word in ROWS else word in name for word in only)


@contextmanager
def _scene() -> Iterator[Scene]:
    with (
        tempfile.TemporaryDirectory(prefix="kvmlab-faults-") as folder,
        stranger(Path(folder)) as host,
    ):
        scene = Scene.on(host, Path(folder), ROOT)
        try:
            yield scene
        finally:
            scene.host.close()


def _keep(group: str, cases: Sequence[FaultCase], *, complete: bool) -> None:
    """Save the outcomes so far of one row."""
    machine = {**_machine(), "load": f"{os.getloadavg()[0]:.1f}"}
    entry = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "revision": machine.pop("revision"),
        "load": machine["load"],
        "complete": complete,
        "cases": [asdict(case) for case in cases],
    }
    lock = FileLock.wait_for(RESULTS / ".faults.lock", timeout_sec=60, what=str(PATH))
    with lock:
        document = _kept()
        document["groups"][group] = entry
        document["machine"] = machine
        text = json.dumps(document, indent=1, ensure_ascii=False)
        work = PATH.with_suffix(".new")
        work.write_text(f"{text}\n", encoding="utf-8")
        work.replace(PATH)


def _kept() -> dict[str, Any]:
    if not PATH.exists():
        return {"name": "faults", "groups": {}}
    document: dict[str, Any] = json.loads(PATH.read_text(encoding="utf-8"))
    return document


def _case(fields: Mapping[str, Any]) -> FaultCase:
    return FaultCase(**{**fields, "left": tuple(fields["left"])})


def table(groups: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the table in Markdown, with the day on which each row was tried.

    A revision may be gone from the history one day; `PATH` has it.
    """
    lines = [
        "| fault | tried | nothing to undo, or reverted at once | put back by restore "
        "| by the host itself | lost | measured |",
        "|---|---:|---:|---:|---:|---:|---|",
    ]
    cases: list[FaultCase] = []
    for name in ROWS:
        if name in groups:
            group = groups[name]
            tried = [_case(fields) for fields in group["cases"]]
            words = f"kill -9 at every moment of {name}" if name in SCHEMES else name
            # The host that restored itself says how long that took.
            words += f": {tried[0].message}" if name in ROLLBACKS and tried else ""
            words += "" if group["complete"] else " (not yet all)"
            cases += tried
            lines.append(_row(words, tried, group["when"][:10]))
    return [*lines, _row("**all**", cases, "")]


def _row(name: str, cases: Sequence[FaultCase], day: str) -> str:
    counts = [sum(case.how == how for case in cases) for how in HOWS]
    lost = sum(case.lost for case in cases)
    return f"| {name} | {len(cases)} | {' | '.join(map(str, counts))} | {lost} | {day} |"


if __name__ == "__main__":
    main()
