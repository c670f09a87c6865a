"""Execution of one notebook, by an engine for papermill.

It adds three things to papermill's own engine: a listener is called as each cell starts, the
kernel gets an environment of its own, and Ctrl-C first interrupts the running cell, so that its
``with`` blocks put the host back before the kernel ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_core.utils import ensure_async, run_sync
from nbclient.exceptions import DeadKernelError
from nbformat.sign import NotebookNotary
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine, papermill_engines
from papermill.exceptions import PapermillExecutionError
from papermill.execute import execute_notebook

from kvmlab.errors import RunFailed, UsageError
from kvmlab.language import ENGLISH, VARIABLE
from kvmlab.rendering import HEADLESS_VARIABLE
from kvmlab.runbook.notebooks import Notebook, section_titles
from kvmlab.runbook.parameters import Value

ENGINE = "kvmlab"
INTERRUPT_DEADLINE_SEC = 90
_LAST_WORDS = 2000
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


class Listener(Protocol):
    """An observer of a notebook's execution."""

    def cell(self, index: int, total: int, section: str, source: str) -> None:
        """Note that cell ``index`` (from 0) of ``total`` starts, under the heading ``section``."""


@dataclass(frozen=True)
class Executed:
    """A notebook that ran to its end."""

    notebook: Notebook
    path: Path
    elapsed_sec: float


class _Client(PapermillNotebookClient):  # type: ignore[misc]
    """papermill's client, which lets the running cell clean up on Ctrl-C or SIGTERM.

    The kernel is reached by sockets in a private folder, ``sockets``: ports of 127.0.0.1 are open
    to every user of this machine.
    """

    sockets: str = ""

    def create_kernel_manager(self) -> Any:
        manager = super().create_kernel_manager()
        manager.connection_file = str(Path(self.sockets) / "kernel.json")
        manager.transport = "ipc"
        manager.ip = str(Path(self.sockets) / "s")
        return manager

    def papermill_execute_cells(self) -> None:
        try:
            super().papermill_execute_cells()
        except (KeyboardInterrupt, SystemExit):
            self._end_cell()
            raise

    def _end_cell(self) -> None:
        """Interrupt the running cell and wait until the kernel is idle again."""
        with contextlib.suppress(RuntimeError, TimeoutError):
            run_sync(self._interrupted)()

    async def _interrupted(self) -> None:
        # The cancelled execution still waits for its reply, and would receive ours.
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await ensure_async(self.km.interrupt_kernel())
        await ensure_async(self.kc.kernel_info(reply=True, timeout=INTERRUPT_DEADLINE_SEC))


class _Engine(NBClientEngine):  # type: ignore[misc]
    """The engine; ``listener`` and ``kernel_env`` come through papermill's keywords."""

    @classmethod
    def execute_managed_notebook(
        cls,
        nb_man: Any,
        kernel_name: str,
        log_output: bool = False,
        start_timeout: int = 60,
        listener: Listener | None = None,
        kernel_env: Mapping[str, str] | None = None,
        **_unused: object,
    ) -> object:
        if listener is not None:
            _call_at_each_cell(nb_man, listener)
        client = _Client(
            nb_man,
            timeout=None,
            startup_timeout=start_timeout,
            kernel_name=kernel_name,
            log_output=log_output,
            # The kernel would log a Ctrl-C in the middle of our message about it.
            extra_arguments=["--IPKernelApp.log_level=CRITICAL"],
        )
        with (
            tempfile.TemporaryDirectory(prefix="kvmlab-") as sockets,
            # What a cell prints comes by a socket. The process itself has something to say only
            # when it cannot start, or, while it is being ended, of sockets that are gone already.
            tempfile.TemporaryFile() as words,
        ):
            client.sockets = sockets
            try:
                return client.execute(env={**os.environ, **(kernel_env or {})}, stderr=words)
            except RuntimeError as error:  # nbclient's, of a kernel that died or does not start
                words.seek(0)
                last_words = words.read().decode(errors="replace")[-_LAST_WORDS:].strip()
                raise DeadKernelError(last_words or str(error)) from error


papermill_engines.register(ENGINE, _Engine)


def _call_at_each_cell(nb_man: Any, listener: Listener) -> None:
    titles = section_titles(nb_man.nb.cells)
    papermills_own = nb_man.cell_start

    def cell_start(cell: Any, cell_index: int = 0, **keywords: object) -> None:
        listener.cell(cell_index, len(titles), titles[cell_index], cell["source"])
        papermills_own(cell, cell_index, **keywords)

    nb_man.cell_start = cell_start


def check_kernel(notebook: Notebook) -> None:
    """Raise unless the notebook's kernel is installed.

    Raises:
        UsageError: it is not; the fix is what to install.
    """
    kernel = notebook.kernel or "none"
    specs = KernelSpecManager().find_kernel_specs()
    if kernel not in specs:
        raise UsageError(
            f"{notebook.name} asks for the Jupyter kernel {kernel!r}, and this environment has "
            f"{', '.join(sorted(specs)) or 'none at all'}.",
            todo="Install ipykernel into the environment of kvmlab, or set the notebook's kernel "
            "to python3.",
        )


def execute(
    notebook: Notebook,
    output: Path,
    parameters: Mapping[str, Value],
    *,
    listener: Listener | None = None,
    kernel_env: Mapping[str, str] | None = None,
) -> Executed:
    """Execute ``notebook`` and write the executed copy to ``output``, cell by cell.

    Raises:
        RunFailed: a cell failed or the kernel died; the copy holds what ran until then, and the
            evidence is the failing cell and its error.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    source = notebook.path
    if notebook.language != ENGLISH:
        # papermill reads files, so the translated notebook is written first and run in place.
        nbformat.write(notebook.node, output)
        source = output
    started = time.monotonic()
    position = _Position(listener)
    try:
        execute_notebook(
            str(source),
            str(output),
            parameters=dict(parameters),
            engine_name=ENGINE,
            progress_bar=False,
            cwd=str(output.parent),
            listener=position,
            # Otherwise the debugger's advice about frozen modules is the first line of every log.
            kernel_env={
                "PYDEVD_DISABLE_FILE_VALIDATION": "1",
                HEADLESS_VARIABLE: "yes",
                VARIABLE: notebook.language,
                **(kernel_env or {}),
            },
        )
    except PapermillExecutionError as error:
        raise RunFailed(
            f"{notebook.name} stopped at cell [{error.exec_count}], under “{position.section}”.",
            todo=f"All that ran until then is in {output}.",
            evidence=f"{error.source.strip()}\n\n{error.ename}: {_ANSI.sub('', error.evalue)}",
        ) from error
    except DeadKernelError as error:
        if not position.section:
            raise RunFailed(
                f"The kernel of {notebook.name} does not start.",
                todo="Is the environment whole? Remove `.venv`, and `./lab` makes it anew.",
                evidence=str(error),
            ) from error
        raise RunFailed(
            f"The kernel of {notebook.name} died under “{position.section}”.",
            todo="Something outside the notebook ended it: look for a lack of memory (`dmesg`) "
            f"or a kill. All that ran until then is in {output}.",
            evidence=position.source,
        ) from error
    _trust(output)
    return Executed(notebook, output, time.monotonic() - started)


def _trust(executed: Path) -> None:
    """Sign the outputs that this user has just made, so that JupyterLab shows them."""
    notary = NotebookNotary()
    # Nothing else closes its database; Python 3.13 warns of one that is left open.
    with contextlib.closing(notary.store):
        notary.sign(nbformat.read(executed, as_version=4))


class _Position:
    """The cell that is running; passes each start on to the listener."""

    def __init__(self, listener: Listener | None) -> None:
        self._listener = listener
        self.section = ""
        self.source = ""

    def cell(self, index: int, total: int, section: str, source: str) -> None:
        self.section = section
        self.source = source.strip()
        if self._listener is not None:
            self._listener.cell(index, total, section, source)
