"""Scripts that ship with kvmlab, run on a host: nothing is installed there."""

from __future__ import annotations

from importlib.resources import files
from typing import Final

from kvmlab.hosts.remote_process import RemoteProcess
from kvmlab.hosts.runner import Runner
from kvmlab.process import Completed

_PRELUDE_LINE: Final = "\n. ./prelude.sh\n"


def run_script(
    runner: Runner,
    package: str,
    script: str,
    *args: str,
    timeout_sec: float,
    check: bool = True,
    root: bool = False,
) -> Completed:
    """Run ``scripts/<script>`` of ``package`` on the host with ``args``, and wait for it.

    The script travels over standard input to ``sh -s``.

    Raises:
        CommandFailed, CommandTimeout, HostRefused, HostUnreachable: see ``Runner.run``.
    """
    return runner.run(
        ("sh", "-s", "--", *args),
        timeout_sec=timeout_sec,
        input_text=script_text(package, script),
        check=check,
        root=root,
    )


def spawn_script(
    runner: Runner, package: str, script: str, *args: str, root: bool = False
) -> RemoteProcess:
    """Start ``scripts/<script>`` of ``package`` on the host with ``args``, and go on.

    The script travels in the command line, so that its standard input is ours to talk to it.
    Messages show it as ``sh script args…``.

    Raises:
        HostRefused, HostUnreachable, HostError: see ``Runner.spawn``.
    """
    argv = ("sh", "-c", script_text(package, script), script, *args)
    return runner.spawn(argv, root=root, shown_as=("sh", script, *args))


def script_text(package: str, script: str) -> str:
    """Return the text of ``scripts/<script>`` of ``package``, with the prelude it asks for.

    The prelude takes the place of the line ``. ./prelude.sh``.
    """
    text = files(package).joinpath("scripts", script).read_text(encoding="utf-8")
    if _PRELUDE_LINE not in text:
        return text
    prelude = files("kvmlab.hosts").joinpath("scripts", "prelude.sh").read_text(encoding="utf-8")
    return text.replace(_PRELUDE_LINE, f"\n{prelude}", 1)
