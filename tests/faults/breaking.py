"""Faults of everything around kvmlab, each made on a stranger's host and looked at afterwards."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from kvmlab.changes import ConfigureGuest, Plan
from kvmlab.changes.keeper import read_on_host
from kvmlab.domain import TestVM
from kvmlab.errors import KvmlabError
from kvmlab.facts import inspect
from kvmlab.hosts import Host, SshRunner
from kvmlab.schemes import Scheme, SriovVf, Virtio
from kvmlab.waiting import until
from tests.faults.killing import Case, after
from tests.faults.photograph import photograph
from tests.faults.stranger import CABLE, SPEC, WIRES, Stranger

VIRTIO: Final = Virtio(backend="vhost")
_SEC: Final = 60.0


@dataclass
class Scene:
    """A stranger's host at rest, as it is before every fault."""

    stranger: Stranger
    host: Host
    folder: Path
    repository: Path
    vm: TestVM
    before: dict[str, Any]

    @classmethod
    def on(cls, stranger: Stranger, folder: Path, repository: Path) -> Scene:
        host = stranger.open()
        vm = TestVM.ensure(host)
        return cls(stranger, host, folder, repository, vm, photograph(host, vm))

    def plan(self, scheme: Scheme = VIRTIO, *, patience_sec: int | None = None) -> Plan:
        made = scheme.plan(inspect(self.host, prove_kvm=False), wire=WIRES["p2p1"], vm=self.vm)
        if patience_sec is None:
            return made
        last = made.steps[-1]
        assert isinstance(last, ConfigureGuest)
        return replace(made, steps=(*made.steps[:-1], replace(last, timeout_sec=patience_sec)))

    def reopen(self) -> None:
        """A new door, and the VM as libvirt has it now."""
        self.host.close()
        self.host = self.stranger.open()
        self.vm = TestVM.ensure(self.host)

    def on_host(self, *argv: str, text: str | None = None) -> str:
        return self.host.run(argv, timeout_sec=_SEC, root=True, input_text=text).stdout.strip()

    def in_vm(self, script: str) -> str:
        return self.vm.agent.run(("sh", "-s"), input_text=script, timeout_sec=_SEC).stdout.strip()


Fault = Callable[[Scene], str]
"""Makes the fault while a scheme is applied, mends what is not kvmlab's; what kvmlab said."""


def applied(scene: Scene, plan: Plan, fault: Callable[[], object], vm: TestVM | None = None) -> str:
    """Apply, break, revert; the error's text, or nothing where there was none."""
    try:
        with plan.applied(vm or scene.vm):
            fault()
    except KvmlabError as error:
        return str(error)
    return ""


class BreakingVM(TestVM):
    """A VM with which something happens at a moment that was agreed on."""

    def arm(self, moment: str, fault: Callable[[], object]) -> None:
        self._moment, self._fault = moment, fault

    def _now(self, moment: str) -> None:
        if moment == self._moment:
            self._fault()

    def attach(self, device_xml: str, *, timeout_sec: float = 60) -> str:
        self._now("attach")
        alias = super().attach(device_xml, timeout_sec=timeout_sec)
        self._now("attached")
        return alias

    def detach(self, mac_or_alias: str, *, timeout_sec: float = 60) -> bool:
        self._now("detach")
        return super().detach(mac_or_alias, timeout_sec=timeout_sec)


def breaking(scene: Scene, moment: str, fault: Callable[[], object]) -> BreakingVM:
    vm = BreakingVM(scene.host, scene.vm.handle, scene.vm.name)
    vm.arm(moment, fault)
    return vm


def _kill_libvirtd(scene: Scene) -> None:
    old = scene.on_host("cat", "/run/libvirtd.pid")
    scene.on_host("kill", "-9", old)

    def is_back() -> bool:
        done = scene.host.run(("cat", "/run/libvirtd.pid"), timeout_sec=_SEC, check=False)
        socket = scene.host.run(
            ("virsh", "-c", "qemu:///system", "list"), timeout_sec=_SEC, check=False
        )
        return done.stdout.strip() not in ("", old) and socket.returncode == 0

    until(is_back, timeout_sec=_SEC, every_sec=0.5, what="libvirtd's coming back")


def libvirtd_in_use(scene: Scene) -> str:
    said = applied(scene, scene.plan(), lambda: _kill_libvirtd(scene))
    scene.reopen()
    return said


def libvirtd_before(moment: str) -> Fault:
    def fault(scene: Scene) -> str:
        vm = breaking(scene, moment, lambda: _kill_libvirtd(scene))
        said = applied(scene, scene.plan(), lambda: None, vm)
        scene.reopen()
        return said

    return fault


def _cut(scene: Scene) -> None:
    assert isinstance(scene.host.runner, SshRunner)
    master = scene.host.runner._master
    master.kill()
    master.wait()


def ssh_cut_in_use(scene: Scene) -> str:
    said = applied(scene, scene.plan(), lambda: _cut(scene))
    scene.reopen()
    return said


def ssh_cut_before(moment: str) -> Fault:
    def fault(scene: Scene) -> str:
        said = applied(
            scene, scene.plan(), lambda: None, breaking(scene, moment, lambda: _cut(scene))
        )
        scene.reopen()
        return said

    return fault


def ssh_frozen(scene: Scene) -> str:
    """The host's end of the connection stops answering, for ever."""
    own = int(scene.on_host("sh", "-c", "cut -d' ' -f4 /proc/$PPID/stat"))
    with scene.stranger.open() as other:

        def freeze() -> None:
            other.run(("kill", "-STOP", str(own)), timeout_sec=_SEC, root=True)

        said = applied(scene, scene.plan(), freeze)

        def lock_is_free() -> bool:
            return not read_on_host(other).holder

        until(lock_is_free, timeout_sec=400, every_sec=5, what="the end of the frozen lab's lock")
        other.run(("kill", "-9", str(own)), timeout_sec=_SEC, root=True)
    scene.reopen()
    return said


def vm_killed(scheme: Scheme) -> Fault:
    def fault(scene: Scene) -> str:
        pid = str(scene.vm.pid())
        said = applied(scene, scene.plan(scheme), lambda: scene.on_host("kill", "-9", pid))
        scene.reopen()
        return said

    return fault


def vf_driver_unbound(scene: Scene) -> str:
    script = (
        "for d in /sys/bus/pci/drivers/igbvf/0*; do\n"
        '    echo "${d##*/}" >/sys/bus/pci/drivers/igbvf/unbind\ndone\n'
    )
    return applied(scene, scene.plan(SriovVf()), lambda: scene.in_vm(script))


def _peer(scene: Scene, state: str) -> None:
    wire = WIRES["p2p1"]
    scene.on_host(*wire.on_peer(("ip", "link", "set", "dev", str(wire.peer_port), state)))
    if state == "up":
        scene.on_host(*wire.on_peer(("ip", "address", "replace", wire.peer_address, "dev", "p2p2")))


def peer_gone_before(scene: Scene) -> str:
    plan = scene.plan(patience_sec=3)
    _peer(scene, "down")
    try:
        return applied(scene, plan, lambda: None)
    finally:
        _peer(scene, "up")


def peer_gone_in_use(scene: Scene) -> str:
    said = applied(scene, scene.plan(), lambda: _peer(scene, "down"))
    _peer(scene, "up")
    return said


def _silence_agent(scene: Scene, seconds: int) -> None:
    scene.in_vm(
        f"(sleep 0.2; kill -STOP $(cat /run/qemu-ga.pid); sleep {seconds};"
        " kill -CONT $(cat /run/qemu-ga.pid)) >/dev/null 2>&1 </dev/null &\n"
    )
    until(lambda: not _answers(scene), timeout_sec=_SEC, what="the agent's silence")


def _answers(scene: Scene) -> bool:
    try:
        scene.vm.agent.command({"execute": "guest-ping"}, answer_sec=2)
    except KvmlabError:
        return False
    return True


def agent_dead(scene: Scene) -> str:
    vm = breaking(scene, "attached", lambda: _silence_agent(scene, 40))
    said = applied(scene, scene.plan(patience_sec=3), lambda: None, vm)
    scene.vm.agent.ping(timeout_sec=240)
    return said


def agent_dead_in_use(scene: Scene) -> str:
    said = applied(scene, scene.plan(), lambda: _silence_agent(scene, 20))
    scene.vm.agent.ping(timeout_sec=240)
    return said


@contextmanager
def disk_full(size: int) -> Iterator[None]:
    """No file of this process may grow beyond ``size`` bytes: for it every disk is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def journal_disk_full(scene: Scene) -> str:
    plan = scene.plan()
    with disk_full(400):
        return applied(scene, plan, lambda: None)


def results_disk_full(scene: Scene) -> str:
    from kvmlab.lab.keeping import keep
    from tests.report import made

    def measure() -> None:
        with disk_full(100):
            keep([made.virtio()], scene.folder / "results", None)

    return applied(scene, scene.plan(), measure)


def host_disk_full(scene: Scene) -> str:
    """The host's own disk takes no journal."""
    plan = scene.plan()
    place = "/var/lib/kvmlab/journal"
    scene.on_host("mount", "-t", "tmpfs", "-o", "size=4k", "full", place)
    scene.on_host("dd", "if=/dev/zero", f"of={place}/filler", "bs=4096", "count=1")
    try:
        return applied(scene, plan, lambda: None)
    finally:
        scene.on_host("umount", place)


def clock_jump(how: str, back: str) -> Fault:
    def fault(scene: Scene) -> str:
        def jump(by: str) -> None:
            scene.on_host("date", "-s", by)

        said = applied(scene, scene.plan(), lambda: jump(how))
        jump(back)
        return said

    return fault


def _command(scene: Scene, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        (sys.executable, "-m", "kvmlab", *words),
        cwd=scene.repository,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def command_ended(number: signal.Signals) -> Fault:
    """``kvmlab apply`` in use, and a signal."""

    def fault(scene: Scene) -> str:
        words = ("apply", "virtio-vhost", "--host", SPEC, "--cable", CABLE, "--yes")
        with _command(scene, *words) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith("Applied"):
                    process.send_signal(number)
                    break
            _, told = process.communicate(timeout=120)
        return told if number != signal.SIGKILL and process.returncode != 128 + number else ""

    return fault


_NOTEBOOK: Final = """
import kvmlab, os, pathlib, signal, time
lab = kvmlab.open_lab(HOST, wire=CABLE, allow_changes=True)
change = lab.plan(kvmlab.Virtio(backend="vhost")).apply(lab.vm)
pathlib.Path(MARK).write_text(str(os.getpid()))
while True: time.sleep(1)
"""


def _run_of_a_notebook(scene: Scene, end: Callable[[subprocess.Popen[str], int], None]) -> str:
    import nbformat

    mark = scene.folder / "mark"
    mark.unlink(missing_ok=True)
    book = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_markdown_cell("# Held"),
            nbformat.v4.new_code_cell(
                f'HOST: str = "{SPEC}"  # host\nCABLE: str = "{CABLE}"  # cable\n'
                f'MARK: str = "{mark}"  # written when the scheme is applied',
                metadata={"tags": ["parameters"]},
            ),
            nbformat.v4.new_code_cell(_NOTEBOOK),
        ],
        metadata={
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}
        },
    )
    path = scene.folder / "held.ipynb"
    nbformat.write(book, path)
    out = scene.folder / f"run-{os.urandom(4).hex()}"
    with _command(scene, "run", str(path), "--out", str(out)) as process:
        until(
            lambda: process.poll() is not None or (mark.exists() and mark.read_text()),
            timeout_sec=240,
            what="the notebook's applied scheme",
        )
        if process.poll() is None:
            end(process, int(mark.read_text()))
        _, told = process.communicate(timeout=180)
    return told.strip()


def kernel_killed(scene: Scene) -> str:
    return _run_of_a_notebook(scene, lambda process, kernel: os.kill(kernel, signal.SIGKILL))


def run_killed(scene: Scene) -> str:
    """Papermill's own process; the kernel notices that it is alone and ends."""

    def end(process: subprocess.Popen[str], kernel: int) -> None:
        process.kill()
        until(
            lambda: not Path(f"/proc/{kernel}").exists(), timeout_sec=120, what="the kernel's end"
        )

    return _run_of_a_notebook(scene, end)


#: The faults by name, in the order in which they are tried.
FAULTS: Final[Mapping[str, Fault]] = {
    "kvmlab apply: kill -9 in use": command_ended(signal.SIGKILL),
    "kvmlab apply: SIGTERM in use": command_ended(signal.SIGTERM),
    "kvmlab apply: terminal closed (SIGHUP)": command_ended(signal.SIGHUP),
    "notebook's kernel: kill -9 in use": kernel_killed,
    "papermill (kvmlab run): kill -9 in use": run_killed,
    "libvirtd: kill -9 before attaching": libvirtd_before("attach"),
    "libvirtd: kill -9 in use": libvirtd_in_use,
    "libvirtd: kill -9 before detaching": libvirtd_before("detach"),
    "ssh: cut before attaching": ssh_cut_before("attach"),
    "ssh: cut in use": ssh_cut_in_use,
    "ssh: cut before detaching": ssh_cut_before("detach"),
    "ssh: frozen in use": ssh_frozen,
    "QEMU of the test VM: kill -9 in use (vhost)": vm_killed(VIRTIO),
    "QEMU of the test VM: kill -9 in use (VF)": vm_killed(SriovVf()),
    "VF's driver unbound in the VM": vf_driver_unbound,
    "peer gone before applying": peer_gone_before,
    "peer gone in use": peer_gone_in_use,
    "guest agent dead before configuring": agent_dead,
    "guest agent dead in use": agent_dead_in_use,
    "disk full for the journal here": journal_disk_full,
    "disk full for the journal on the host": host_disk_full,
    "disk full for the results": results_disk_full,
    "clock of the host: two days ahead": clock_jump("2 days", "2 days ago"),
    "clock of the host: two days back": clock_jump("2 days ago", "2 days"),
}
#: Those that need minutes.
SLOW: Final = ("ssh: frozen in use",)


def try_fault(name: str, scene: Scene) -> Case:
    """Make one fault and look at what is left of it."""
    said = FAULTS[name](scene)
    case = after(VIRTIO.id, name, scene.host, scene.vm, scene.before)
    # Without an error there is nothing to be told; with one, its first line has to be a sentence.
    return replace(case, said=said or case.said)
