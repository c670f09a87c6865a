"""One notebook of a run in a process of its own, so that several run side by side.

The process, :mod:`kvmlab.runbook.notebook_worker`, reads its task as one line of JSON and prints a
line of JSON for everything that happens.
"""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from kvmlab.errors import KvmlabError, RunFailed
from kvmlab.runbook import engine
from kvmlab.runbook.parameters import Value
from kvmlab.serialization import to_json


@dataclass(frozen=True)
class NotebookTask:
    """A notebook to execute: where it is, its parameters and where its executed copy goes."""

    path: Path
    language: str
    output: Path
    parameters: dict[str, Value]
    #: All parameters with their defaults, which name the host.
    values: dict[str, Value]


@dataclass(frozen=True)
class TaskEnd:
    """The end of a task: how long it took, its host, and the error that ended it, if any."""

    elapsed_sec: float = 0.0
    host: dict[str, str] = field(default_factory=dict)
    error: KvmlabError | None = None


class NotebookProcess:
    """The process of one notebook, seen from the run."""

    def __init__(self, task: NotebookTask) -> None:
        self._task = task
        self._process = subprocess.Popen(
            (sys.executable, "-m", "kvmlab.runbook.notebook_worker"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # Ctrl-C is for the run, which then stops its notebooks one by one.
            start_new_session=True,
        )

    def follow(
        self, say: Callable[[str], None], listener: engine.Listener | None = None
    ) -> TaskEnd:
        """Pass on what the process prints, and return its end.

        Raises:
            RunFailed: the process ended without a word.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        end = None
        try:
            self._process.stdin.write(json.dumps(to_json(self._task)) + "\n")
            self._process.stdin.flush()
            for line in self._process.stdout:
                event = json.loads(line)
                match event.pop("event"):
                    case "say":
                        say(event["text"])
                    case "cell" if listener is not None:
                        listener.cell(**event)
                    case "end":
                        error = event["error"]
                        end = TaskEnd(
                            event["elapsed_sec"],
                            event["host"],
                            pickle.loads(b64decode(error)) if error else None,
                        )
        except (BrokenPipeError, ValueError):
            pass  # It died; its exit code says so below.
        finally:
            self._process.stdout.close()
            code = self._process.wait()
            self._process.stdin.close()
        if end is None:
            raise RunFailed(
                f"The process of {self._task.path.stem} ended with exit code {code} without a "
                "result.",
                todo="Something outside ended it: look for a lack of memory (`dmesg`) or a kill. "
                f"All that ran until then is in {self._task.output}.",
            )
        return end

    def stop(self) -> None:
        """Ask the process to end; it interrupts its notebook and restores its host first."""
        self._process.terminate()
