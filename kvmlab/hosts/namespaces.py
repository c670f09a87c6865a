"""Commands in the namespaces of a process of another host: a second host inside of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

from kvmlab.errors import HostUnreachable
from kvmlab.hosts.cable import Cable
from kvmlab.hosts.host import Host
from kvmlab.hosts.remote_process import RemoteProcess
from kvmlab.hosts.runner import Runner
from kvmlab.hosts.uri import HostKind
from kvmlab.process import Completed

_READ_SEC: Final = 60.0
#: Where a second host keeps its libvirt's socket and process id, below its folder.
SOCKET: Final = "run/libvirt-sock"
PID_FILE: Final = "run/second.pid"
_ENTER: Final = 'exec nsenter -t "$(cat "$0")" -n -u -m -- "$@"'


class NamespaceRunner:
    """Runner of commands in the network, UTS and mount namespaces of a process, as root.

    ``pid_file`` holds its number; it may be another one for each command, as of a daemon that was
    started anew.
    """

    def __init__(self, inner: Runner, pid_file: str, *, name: str) -> None:
        self.name = name
        self._inner = inner
        self._prefix = ("sh", "-c", _ENTER, pid_file)

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_sec: float,
        input_text: str | None = None,
        check: bool = True,
        root: bool = False,
    ) -> Completed:
        """Run ``argv`` there; see :meth:`kvmlab.hosts.Runner.run`."""
        return self._inner.run(
            (*self._prefix, *argv),
            timeout_sec=timeout_sec,
            input_text=input_text,
            check=check,
            root=True,
        )

    def spawn(
        self,
        argv: Sequence[str],
        *,
        root: bool = False,
        shown_as: Sequence[str] | None = None,
    ) -> RemoteProcess:
        """Start ``argv`` there and go on; see :meth:`kvmlab.hosts.Runner.spawn`."""
        return self._inner.spawn((*self._prefix, *argv), root=True, shown_as=shown_as or argv)

    def close(self) -> None:
        """Do nothing: the connection belongs to the outer host."""


def open_second_host(host: Host, folder: str, *, label: str, cable: Cable | None = None) -> Host:
    """Open the second host inside ``host`` that keeps its state in ``folder``.

    ``cable`` is how it reaches the peer. It has a libvirt connection of its own, through the same
    ssh connection; closing it leaves ``host`` open.

    Raises:
        HostUnreachable: there is none, or its libvirtd does not run.
    """
    done = host.run(("cat", f"{folder}/{PID_FILE}"), timeout_sec=_READ_SEC, check=False, root=True)
    pid = done.stdout.strip()
    if done.returncode != 0 or not pid.isdecimal():
        raise HostUnreachable(
            f"There is no second host in {folder} on {host.label}.",
            todo="Make one: lab.second_host().",
            evidence=done.stderr,
        )
    separator = "&" if "?" in host.libvirt_uri else "?"
    socket = f"socket={quote(f'{folder}/{SOCKET}', safe='/')}"
    # The helper that libvirt prefers over ssh knows the usual socket only.
    transport = "&proxy=netcat" if host.libvirt_uri.startswith("qemu+ssh") else ""
    uri = host.libvirt_uri.replace("qemu:///", "qemu+unix:///", 1)
    return Host(
        spec=f"{host.spec}#{folder}",
        kind=host.kind if host.kind is not HostKind.LOCAL else HostKind.EMBEDDED,
        label=label,
        runner=NamespaceRunner(host.runner, f"{folder}/{PID_FILE}", name=label),
        libvirt_uri=f"{uri}{separator}{socket}{transport}",
        clock=host.clock,
        emulated=host.emulated,
        cable=cable,
        allows_changes=host.allows_changes,
        deadline_sec=60.0,
    )
