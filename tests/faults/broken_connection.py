"""Faults of everything around kvmlab, each caused on a stranger's host and checked afterwards."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from kvmlab.deadline import until
from kvmlab.domain import Domain
from kvmlab.errors import KvmlabError
from kvmlab.schemes import Scheme, SriovVf
from tests.faults.cut_connection import (
    lab_stopped,
    packets_lost,
    ssh_cut_before,
    ssh_cut_in_use,
    ssh_frozen_here,
    ssh_frozen_there,
)
from tests.faults.kill_points import FaultCase, after
from tests.faults.scene import ASK_SEC, VIRTIO, Fault, Scene, applied, breaking
from tests.faults.stranger import CABLE, CABLES, SPEC


def _kill_libvirtd(scene: Scene) -> None:
    old = scene.on_host("cat", "/run/libvirtd.pid")
    scene.on_host("kill", "-9", old)

    def is_back() -> bool:
        done = scene.host.run(("cat", "/run/libvirtd.pid"), timeout_sec=ASK_SEC, check=False)
        socket = scene.host.run(
            ("virsh", "-c", "qemu:///system", "list"), timeout_sec=ASK_SEC, check=False
        )
        return done.stdout.strip() not in ("", old) and socket.returncode == 0

    until(is_back, timeout_sec=ASK_SEC, every_sec=0.5, what="libvirtd's restart")


def libvirtd_in_use(scene: Scene) -> str:
    message = applied(scene, scene.plan(), lambda: _kill_libvirtd(scene))
    scene.reopen()
    return message


def libvirtd_before(moment: str) -> Fault:
    def fault(scene: Scene) -> str:
        vm = breaking(scene, moment, lambda: _kill_libvirtd(scene))
        message = applied(scene, scene.plan(), lambda: None, vm)
        scene.reopen()
        return message

    return fault


def vm_killed(scheme: Scheme) -> Fault:
    def fault(scene: Scene) -> str:
        pid = str(scene.vm.pid())
        message = applied(scene, scene.plan(scheme), lambda: scene.on_host("kill", "-9", pid))
        scene.reopen()
        return message

    return fault


def vf_driver_unbound(scene: Scene) -> str:
    script = (
        "for d in /sys/bus/pci/drivers/igbvf/0*; do\n"
        '    echo "${d##*/}" >/sys/bus/pci/drivers/igbvf/unbind\ndone\n'
    )
    return applied(scene, scene.plan(SriovVf()), lambda: scene.in_vm(script))


#: Writes that the kernel keeps waiting until the VM has let the function go; on their own, so that
#: nobody has to wait with them.
_UNBIND: Final = """
for path in /sys/bus/pci/drivers/vfio-pci/0*; do
    setsid sh -c 'echo "${1##*/}" >/sys/bus/pci/drivers/vfio-pci/unbind' unbind "$path" \\
        >/dev/null 2>&1 </dev/null &
done
"""
_NO_VFS: Final = """
setsid sh -c 'echo 0 >/sys/class/net/p2p1/device/sriov_numvfs' >/dev/null 2>&1 </dev/null &
"""


def _release_from_vm(scene: Scene, script: str) -> None:
    """Run the script on the host, and wait until the VM has released its VF."""
    scene.on_host("sh", "-s", text=script)
    until(
        lambda: not _has_vf(scene), timeout_sec=ASK_SEC, every_sec=0.5, what="the release of the VF"
    )


def _has_vf(scene: Scene) -> bool:
    return Domain.parse(scene.vm.xml()).node.find("devices/interface[@type='hostdev']") is not None


def vf_unbound_on_host(scene: Scene) -> str:
    """Unbind the VF: the kernel asks QEMU, QEMU asks the VM, which releases it."""
    return applied(scene, scene.plan(SriovVf()), lambda: _release_from_vm(scene, _UNBIND))


def vf_taken_away(scene: Scene) -> str:
    return applied(scene, scene.plan(SriovVf()), lambda: _release_from_vm(scene, _NO_VFS))


def vf_unbound_while_paused(scene: Scene) -> str:
    """Unbind the VF of a paused VM, which releases nothing: write and undo wait."""

    def fault() -> None:
        scene.vm.suspend()
        scene.on_host("sh", "-s", text=_UNBIND)

    message = applied(scene, scene.plan(SriovVf()), fault)
    assert _has_vf(scene)
    scene.vm.resume()
    until(
        lambda: not _has_vf(scene), timeout_sec=ASK_SEC, every_sec=0.5, what="the release of the VF"
    )
    return message


def _peer(scene: Scene, state: str) -> None:
    cable = CABLES["p2p1"]
    scene.on_host(*cable.on_peer(("ip", "link", "set", "dev", str(cable.peer_port), state)))
    if state == "up":
        scene.on_host(
            *cable.on_peer(("ip", "address", "replace", cable.peer_address, "dev", "p2p2"))
        )


def peer_gone_before(scene: Scene) -> str:
    plan = scene.plan(wall_timeout_sec=3)
    _peer(scene, "down")
    try:
        return applied(scene, plan, lambda: None)
    finally:
        _peer(scene, "up")


def peer_gone_in_use(scene: Scene) -> str:
    message = applied(scene, scene.plan(), lambda: _peer(scene, "down"))
    _peer(scene, "up")
    return message


def _silence_agent(scene: Scene, seconds: int) -> None:
    scene.in_vm(
        f"(sleep 0.2; kill -STOP $(cat /run/qemu-ga.pid); sleep {seconds};"
        " kill -CONT $(cat /run/qemu-ga.pid)) >/dev/null 2>&1 </dev/null &\n"
    )
    until(lambda: not _answers(scene), timeout_sec=ASK_SEC, what="the agent's silence")


def _answers(scene: Scene) -> bool:
    try:
        scene.vm.agent.command({"execute": "guest-ping"}, answer_sec=2)
    except KvmlabError:
        return False
    return True


def agent_dead(scene: Scene) -> str:
    vm = breaking(scene, "attached", lambda: _silence_agent(scene, 40))
    message = applied(scene, scene.plan(wall_timeout_sec=3), lambda: None, vm)
    scene.vm.agent.ping(timeout_sec=240)
    return message


def agent_dead_in_use(scene: Scene) -> str:
    message = applied(scene, scene.plan(), lambda: _silence_agent(scene, 20))
    scene.vm.agent.ping(timeout_sec=240)
    return message


@contextmanager
def disk_full(size: int) -> Iterator[None]:
    """Limit every file of this process to ``size`` bytes: for it every disk is full."""
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
    from kvmlab.lab.result_store import keep
    from tests.report import builders

    def measure() -> None:
        with disk_full(100):
            keep([builders.virtio()], scene.folder / "results", None)

    return applied(scene, scene.plan(), measure)


def host_disk_full(scene: Scene) -> str:
    """Fill the host's disk before the journal is written there."""
    plan = scene.plan()
    place = "/var/lib/kvmlab/journal"
    scene.on_host("mount", "-t", "tmpfs", "-o", "size=4k", "full", place)
    scene.on_host("dd", "if=/dev/zero", f"of={place}/filler", "bs=4096", "count=1")
    try:
        return applied(scene, plan, lambda: None)
    finally:
        scene.on_host("umount", place)


def host_disk_full_later(scene: Scene) -> str:
    """Fill the host's disk once the interface is attached."""
    place = "/var/lib/kvmlab/journal"
    scene.on_host("mount", "-t", "tmpfs", "-o", "size=64k", "full", place)
    # dd ends with an error when the disk is full, which is what is wanted.
    fill = ("dd", "if=/dev/zero", f"of={place}/filler", "bs=4096")

    def full() -> None:
        scene.host.run(fill, timeout_sec=ASK_SEC, root=True, check=False)

    try:
        return applied(scene, scene.plan(), lambda: None, breaking(scene, "attached", full))
    finally:
        scene.on_host("umount", place)


def clock_jump(how: str, back: str) -> Fault:
    def fault(scene: Scene) -> str:
        def jump(by: str) -> None:
            scene.on_host("date", "-s", by)

        message = applied(scene, scene.plan(), lambda: jump(how))
        jump(back)
        return message

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
    """Send a signal to ``kvmlab apply`` in use."""

    def fault(scene: Scene) -> str:
        words = ("apply", "virtio-vhost", "--host", SPEC, "--cable", CABLE, "--yes")
        with _command(scene, *words) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith("Applied"):
                    process.send_signal(number)
                    break
            _, stderr = process.communicate(timeout=120)
        return stderr if number != signal.SIGKILL and process.returncode != 128 + number else ""

    return fault


_NOTEBOOK: Final = """
import kvmlab, os, pathlib, signal, time
lab = kvmlab.open_lab(HOST, cable=CABLE, allow_changes=True)
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
        _, stderr = process.communicate(timeout=180)
    return stderr.strip()


def kernel_killed(scene: Scene) -> str:
    return _run_of_a_notebook(scene, lambda process, kernel: os.kill(kernel, signal.SIGKILL))


def run_killed(scene: Scene) -> str:
    """Kill papermill's own process; the kernel notices that it is alone and ends."""

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
    "ssh: the host's end frozen in use": ssh_frozen_there,
    "ssh: this machine's end frozen in use": ssh_frozen_here,
    "network: packets lost for 60 s in use": packets_lost(60),
    "kvmlab stopped until another machine has put it back": lab_stopped,
    "QEMU of the test VM: kill -9 in use (vhost)": vm_killed(VIRTIO),
    "QEMU of the test VM: kill -9 in use (VF)": vm_killed(SriovVf()),
    "VF's driver unbound in the VM": vf_driver_unbound,
    "VF's driver unbound on the host": vf_unbound_on_host,
    "VF's driver unbound on the host, VM paused": vf_unbound_while_paused,
    "VF taken away on the host": vf_taken_away,
    "peer gone before applying": peer_gone_before,
    "peer gone in use": peer_gone_in_use,
    "guest agent dead before configuring": agent_dead,
    "guest agent dead in use": agent_dead_in_use,
    "disk full for the journal here": journal_disk_full,
    "disk full for the journal on the host": host_disk_full,
    "disk full for the journal on the host, once attached": host_disk_full_later,
    "disk full for the results": results_disk_full,
    "clock of the host: two days ahead": clock_jump("2 days", "2 days ago"),
    "clock of the host: two days back": clock_jump("2 days ago", "2 days"),
}


def try_fault(name: str, scene: Scene) -> FaultCase:
    """Cause one fault, restore, and compare the host with its state before."""
    message = FAULTS[name](scene)
    case = after(VIRTIO.id, name, scene.host, scene.vm, scene.before)
    return replace(case, message=message or case.message)
