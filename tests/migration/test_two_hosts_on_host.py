"""Live migration between two machines: embedded hosts that know each other by ssh and name only.

Each has a kernel, a clock and a libvirtd of its own. Nothing leads from one to the other but ports
that ssh forwards: an operator's tunnel through the machine at which kvmlab runs.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from kvmlab.changes import leftovers
from kvmlab.deadline import until
from kvmlab.domain import TestVM
from tests.fleet.strangers import Fleet, kvmlab, strangers, uri_of
from tests.migration.host_state import uptime_of_vm

pytestmark = [pytest.mark.host, pytest.mark.minutes(4), pytest.mark.timeout(900)]

HERE, THERE = "kvm1", "kvm2"
#: Both come from one saved state. One gets another name, another UUID, and no VM.
_ANOTHER = f"""
hostname {THERE}
virsh -q destroy kvmlab-vm; virsh -q undefine kvmlab-vm
echo 'host_uuid = "6b766d6c-6162-4b48-8000-000000000003"' >>/etc/libvirt/libvirtd.conf
kill $(cat /run/libvirtd.pid)
sleep 0.5
until virsh -q list >/dev/null 2>&1; do sleep 0.2; done
printf '127.0.1.1 {THERE}\\n127.0.0.1 kvmlab\\n' >>/etc/hosts
"""
_NAMES = f"printf '127.0.1.1 kvmlab\\n127.0.0.1 {THERE}\\n' >>/etc/hosts"
#: The first port that libvirt gives to a migration; where ssh listens at it, the next.
_OUT, _HOME = 49152, 49153


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with strangers(tmp_path_factory.mktemp("two"), 2) as two:
        yield two


def plan(*words: str) -> tuple[int, str]:
    """Run `kvmlab migrate` from one to the other; return its exit code and its output."""
    done = kvmlab("migrate", "--host", uri_of(HERE), "--to", uri_of(THERE), *words)
    output, _ = done.communicate(timeout=600)
    return done.returncode, output


@contextmanager
def tunnels() -> Iterator[None]:
    """Forward the ports of the way out and of the way home through this machine."""
    folder = Path(tempfile.mkdtemp(prefix="kvmlab-"))
    out, home = folder / "out", folder / "home"
    ends = {
        HERE: (f"{home}:127.0.0.1:{_HOME}", f"127.0.0.1:{_OUT}:{out}"),
        THERE: (f"{out}:127.0.0.1:{_OUT}", f"127.0.0.1:{_HOME}:{home}"),
    }
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        for name, (local, remote) in ends.items():
            # The program at the other end says that the ports are forwarded.
            options = ("-o", "ExitOnForwardFailure=yes", "-L", local, "-R", remote)
            argv = ("ssh", *options, name, "echo ready; exec cat")
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            ssh = stack.enter_context(subprocess.Popen(argv, text=True, **pipes))  # type: ignore[call-overload]
            stack.callback(ssh.stdin.close)
            assert ssh.stdout.readline() == "ready\n"
        yield


def test_two_hosts_of_one_name_are_one_to_libvirt(fleet: Fleet) -> None:
    code, output = plan("--dry-run")
    assert code == 0, output
    assert re.search(r"✗\s+two hosts\s+kvmlab and kvmlab: libvirt takes", output), output
    assert re.search(r"✗\s+name\s+kvmlab-vm runs there already", output), output
    code, output = plan("--yes")
    assert code == 1, output
    assert "cannot migrate" in output


def test_a_vm_migrates_to_another_machine_and_comes_home(fleet: Fleet) -> None:
    with fleet.open(HERE) as here, fleet.open(THERE) as there:
        here.run(("sh", "-c", _NAMES), timeout_sec=60)
        there.run(("sh", "-c", _ANOTHER), timeout_sec=120)
        vm = TestVM.ensure(here)
        uptime = uptime_of_vm(vm)
        code, output = plan("--dry-run")
        assert code == 0, output
        assert "✗" not in output
        # Nothing leads to the other one yet.
        code, output = plan("--yes")
        assert code == 1, output
        assert "did not migrate" in output
        assert vm.state == "running"
        with tunnels():
            code, output = plan("--yes", "--write-mib", "2", "--working-set-mib", "8")
        assert code == 0, output
        assert re.search(r"downtime \d+ ms, elapsed \d+\.\d s", output), output
        assert re.search(r"the VM wrote [12] MiB/s", output), output
        assert "kvmlab-vm is back on" in output
        until(lambda: vm.state == "running", timeout_sec=60, what="The VM at home")
        assert uptime_of_vm(TestVM.find(here)) > uptime, "it was not started anew"
        assert there.libvirt.listAllDomains() == []
        assert leftovers(here) == ()
