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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from bench._harness import RESULTS, ROOT, _machine
from kvmlab.errors import KvmlabError
from tests.faults.breaking import FAULTS, Scene, try_fault
from tests.faults.killing import SCHEMES, Case, kill_everywhere, killer
from tests.faults.stranger import stranger

PATH = RESULTS / "faults.json"


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
    document = json.loads(PATH.read_text(encoding="utf-8"))
    print("\n".join(table([Case(**case) for case in document["cases"]])))


def _try(only: Sequence[str]) -> None:
    schemes = [name for name in SCHEMES if _wanted(name, only)]
    faults = [name for name in FAULTS if _wanted(name, only)]
    for name in schemes:
        with _scene() as scene, killer(ROOT) as killing:
            _keep(name, kill_everywhere(name, scene.host, killing, _tell))
    if faults:
        with _scene() as scene:
            for name in faults:
                begin = time.monotonic()
                try:
                    case = try_fault(name, scene)
                except KvmlabError as error:
                    case = Case(name, "", "not at all", str(error))
                print(f"  {time.monotonic() - begin:5.1f} s", end="", file=sys.stderr)
                _tell(case)
                _keep(name, (case,))
                if case.lost:
                    break  # the next one would begin on a host that is not as it was


def _wanted(name: str, only: Sequence[str]) -> bool:
    exact = {*SCHEMES, *FAULTS}
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


def _tell(case: Case) -> None:
    left = f" LEFT: {'; '.join(case.left)}" if case.lost else ""
    print(f"  {case.where} {case.fault}: {case.how}{left}", file=sys.stderr, flush=True)


def _keep(group: str, cases: Sequence[Case]) -> None:
    """Write these cases in the place of those of the same scheme, or of the same fault."""
    document = json.loads(PATH.read_text(encoding="utf-8")) if PATH.exists() else {"cases": []}
    others = [case for case in document["cases"] if _group(case) != group]
    document = {
        "name": "faults",
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {**_machine(), "load": f"{os.getloadavg()[0]:.1f}"},
        "cases": [*others, *(asdict(case) for case in cases)],
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    PATH.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _group(case: dict[str, str]) -> str:
    """The scheme of a kill, else the fault itself."""
    return str(case["fault"] if case["fault"] in FAULTS else case["where"])


def table(cases: Sequence[Case]) -> list[str]:
    """Faults tried, recovered, lost: in Markdown."""
    lines = [
        "| fault | tried | nothing to undo, or reverted at once | put back by restore | lost |",
        "|---|---:|---:|---:|---:|",
    ]
    kills = [case for case in cases if case.fault.startswith("kill -9 before")]
    for name in SCHEMES:
        of_scheme = [case for case in kills if case.where == name]
        if of_scheme:
            lines.append(_row(f"kill -9 at every moment of {name}", of_scheme))
    for name in FAULTS:
        of_fault = [case for case in cases if case.fault == name]
        if of_fault:
            lines.append(_row(name, of_fault))
    every = [case for case in cases if case in kills or case.fault in FAULTS]
    return [*lines, _row("**all**", every)]


def _row(name: str, cases: Sequence[Case]) -> str:
    counts = [sum(case.how == how for case in cases) for how in ("at once", "by restore")]
    lost = sum(case.lost for case in cases)
    return f"| {name} | {len(cases)} | {counts[0]} | {counts[1]} | {lost} |"


if __name__ == "__main__":
    main()
