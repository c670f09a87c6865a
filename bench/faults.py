"""Every fault on a stranger's host: kill -9 at every moment of every scheme, and others.

An embedded host is reached as anybody's host is, by a URI and an ssh configuration. After each
fault `kvmlab restore` runs, and the host's inspection is compared with that of before. The table
says how many faults were tried, how many were recovered from, and how many hosts were lost.

``python -m bench faults`` tries all; ``--only NAME`` that scheme or fault, or those whose names
hold the word, and keeps what was found of the others before; ``--table`` prints what is kept.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from bench._harness import RESULTS, ROOT, _machine
from bench._started_anew import WHERE, host_started_anew
from kvmlab.errors import KvmlabError
from tests.faults.breaking import FAULTS, try_fault
from tests.faults.killing import (
    SCHEMES,
    Case,
    kill_everywhere,
    kill_restore_everywhere,
    killer,
)
from tests.faults.scene import Scene
from tests.faults.stranger import stranger

PATH = RESULTS / "faults.json"
RESTORE = "kill -9 at every moment of restore itself (sriov-vf, dead in use)"


def main(argv: Sequence[str] | None = None) -> None:
    """Try the faults that were asked for, write what came of them, print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench faults")
    parser.add_argument("--only", action="append", default=[], metavar="WORD")
    parser.add_argument("--table", action="store_true", help="print what is kept, try nothing")
    parser.add_argument("--count", type=int, default=1, help="how often each is tried")
    chosen = parser.parse_args(argv)
    if not chosen.table:
        for _ in range(chosen.count):
            _try(chosen.only)
    groups = json.loads(PATH.read_text(encoding="utf-8"))["groups"]
    cases = {name: _cases(group) for name, group in groups.items()}
    cut_off = {name for name, group in groups.items() if not group["complete"]}
    print("\n".join(table(cases, cut_off)))


def _try(only: Sequence[str]) -> None:
    faults = [name for name in FAULTS if _wanted(name, only)]
    while faults:
        with _scene() as scene:
            # After a host that was lost the next one begins on another.
            while faults and not _lost_by(name := faults.pop(0), partial(_one, name, scene)):
                pass
    for name in SCHEMES:
        if _wanted(name, only):
            with _scene() as scene, killer(ROOT) as killing:
                _lost_by(name, partial(kill_everywhere, name, scene.host, killing))
    if _wanted(RESTORE, only):
        with _scene() as scene, killer(ROOT) as killing:
            _lost_by(RESTORE, partial(kill_restore_everywhere, scene.host, killing))
    if _wanted(WHERE, only):
        _lost_by(WHERE, partial(host_started_anew, ROOT))


def _one(name: str, scene: Scene, tell: Callable[[Case], None]) -> None:
    tell(try_fault(name, scene))


def _lost_by(name: str, attempt: Callable[[Callable[[Case], None]], object]) -> bool:
    """Try what belongs to one row of the table; what cannot be tried counts as lost."""
    cases: list[Case] = []
    begin = time.monotonic()
    try:
        attempt(partial(_note, name, cases))
    except (KvmlabError, AssertionError) as error:
        _note(name, cases, Case(name, "", "not at all", str(error) or "a step of it failed"))
    _note(name, cases, None)
    print(f"  {time.monotonic() - begin:.0f} s for {name}", file=sys.stderr, flush=True)
    return any(case.lost for case in cases)


def _wanted(name: str, only: Sequence[str]) -> bool:
    exact = {*SCHEMES, *FAULTS, RESTORE, WHERE}
    return not only or any(name == word if word in exact else word in name for word in only)


@contextmanager
def _scene() -> Iterator[Scene]:
    with (
        tempfile.TemporaryDirectory(prefix="kvmlab-faults-") as folder,
        stranger(Path(folder)) as found,
    ):
        scene = Scene.on(found, Path(folder), ROOT)
        try:
            yield scene
        finally:
            scene.host.close()


def _note(group: str, cases: list[Case], case: Case | None) -> None:
    """Keep what is known so far of one scheme or fault; None: that was all of it."""
    if case is not None:
        left = f" LEFT: {'; '.join(case.left)}" if case.lost else ""
        print(f"  {case.where} {case.fault}: {case.how}{left}", file=sys.stderr, flush=True)
        # Applying and reverting in peace is no fault.
        cases += [case] if case.fault != "nothing" or case.lost else []
    document = json.loads(PATH.read_text(encoding="utf-8")) if PATH.exists() else {"groups": {}}
    machine = {**_machine(), "load": f"{os.getloadavg()[0]:.1f}"}
    document["groups"][group] = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "revision": machine.pop("revision"),
        "complete": case is None,
        "cases": [asdict(one) for one in cases],
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    PATH.write_text(
        json.dumps({"name": "faults", **document, "machine": machine}, indent=1, ensure_ascii=False)
        + "\n",
        encoding="utf-8",
    )


def _cases(group: Mapping[str, Any]) -> list[Case]:
    return [Case(**{**case, "left": tuple(case["left"])}) for case in group["cases"]]


def table(groups: Mapping[str, Sequence[Case]], cut_off: Set[str] = frozenset()) -> list[str]:
    """Faults tried, recovered, lost: in Markdown. Those ``cut_off`` are not all that there are."""
    lines = [
        "| fault | tried | nothing to undo, or reverted at once | put back by restore | lost |",
        "|---|---:|---:|---:|---:|",
    ]
    for name in (*SCHEMES, RESTORE, *FAULTS, WHERE):
        if name in groups:
            words = f"kill -9 at every moment of {name}" if name in SCHEMES else name
            words += " (not yet all)" if name in cut_off else ""
            lines.append(_row(words, groups[name]))
    return [*lines, _row("**all**", [case for cases in groups.values() for case in cases])]


def _row(name: str, cases: Sequence[Case]) -> str:
    counts = [sum(case.how == how for case in cases) for how in ("at once", "by restore")]
    lost = sum(case.lost for case in cases)
    return f"| {name} | {len(cases)} | {counts[0]} | {counts[1]} | {lost} |"


if __name__ == "__main__":
    main()
