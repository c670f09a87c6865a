"""The process that executes one notebook of a run, on a host of its own.

It reads a task from its standard input and prints events, one line of JSON each (see
:mod:`kvmlab.runbook.notebook_process`). It interrupts the notebook and restores its host on
SIGTERM, and when its standard input is closed, as it is when the run was killed.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import sys
import threading
from base64 import b64encode
from collections.abc import Callable
from typing import Any, NoReturn

from kvmlab.errors import KvmlabError, RunFailed
from kvmlab.lab.parallelism import JOBS_VARIABLE
from kvmlab.runbook import engine
from kvmlab.runbook.notebook_process import NotebookTask
from kvmlab.runbook.notebooks import read
from kvmlab.runbook.run_host import HostRequest, RunHost
from kvmlab.serialization import from_json


def main() -> NoReturn:
    """Execute the notebook that standard input names."""
    signal.signal(signal.SIGTERM, _terminate)
    signal.signal(signal.SIGHUP, _terminate)
    # What libraries print is no event.
    events, sys.stdout = sys.stdout, sys.stderr

    def emit(event: str, **fields: Any) -> None:
        events.write(json.dumps({"event": event, **fields}) + "\n")
        events.flush()

    task = from_json(json.loads(sys.stdin.readline()), NotebookTask)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ[JOBS_VARIABLE] = "1"
    sys.exit(_execute(task, emit))


def _execute(task: NotebookTask, emit: Callable[..., None]) -> int:
    with RunHost(lambda text: emit("say", text=text), private=True) as run_host:
        error: KvmlabError | None = None
        elapsed_sec = 0.0
        try:
            run_host.switch_to(HostRequest.of(task.values))
            executed = engine.execute(
                read(task.path, task.language),
                task.output,
                task.parameters,
                listener=_Emitter(emit),
                kernel_env=run_host.environment,
            )
            elapsed_sec = executed.elapsed_sec
        except KvmlabError as failure:
            error = _restored(run_host, emit, failure)
        except (KeyboardInterrupt, SystemExit):
            error = _restored(run_host, emit, RunFailed(f"{task.path.stem} was interrupted."))
        text = b64encode(pickle.dumps(error)).decode() if error is not None else ""
        emit("end", elapsed_sec=elapsed_sec, host=run_host.about, error=text)
    return 0 if error is None else error.exit_code


def _restored(run_host: RunHost, emit: Callable[..., None], failure: KvmlabError) -> KvmlabError:
    """Restore the host; return the error to report, which is the worse of the two."""
    try:
        for sentence in run_host.restore():
            emit("say", text=sentence)
    except KvmlabError as error:
        error.evidence = f"{error.evidence}\n{failure}".strip()
        return error
    return failure


class _Emitter:
    """A listener that prints each cell as an event."""

    def __init__(self, emit: Callable[..., None]) -> None:
        self._emit = emit

    def cell(self, index: int, total: int, section: str, source: str) -> None:
        """Print that a cell starts."""
        self._emit("cell", index=index, total=total, section=section, source=source)


def _end_with_parent() -> None:
    # Not through sys.stdin, whose lock a thread that is blocked there holds at the exit.
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _terminate(number: int, _frame: object) -> NoReturn:
    # A second signal must not interrupt the restoring of the host.
    for again in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(again, signal.SIG_IGN)
    raise SystemExit(128 + number)


if __name__ == "__main__":
    main()
