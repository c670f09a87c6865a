"""An incident as its user works on it: wrong checks, hints, a mend by hand, the end."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from kvmlab.changes import HostSnapshot, leftovers, restore
from kvmlab.course import read_progress
from kvmlab.course.progress import ProgressEvent
from kvmlab.errors import UsageError
from kvmlab.incidents import IncidentSession, IncidentState, draw, find_fault

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmlab.lab import Lab

pytestmark = pytest.mark.host


@pytest.fixture
def session(lab: Lab) -> Iterator[IncidentSession]:
    """Yield the host's session; whatever a test leaves there is put back."""
    session = IncidentSession(lab)
    yield session
    session.end()


def state_of(session: IncidentSession) -> IncidentState:
    state = session.state
    assert state is not None
    return state


def in_shell(lab: Lab, line: str) -> None:
    lab.host.run(("sh", "-ec", line), timeout_sec=60, root=True)


def test_an_incident_is_mended_by_hand(lab: Lab, session: IncidentSession) -> None:
    before = HostSnapshot.take(lab.host, lab.vm)
    state = session.start([find_fault("wrong-vlan")], "seed 7, level 2")
    assert state.healthy.loss == 0
    # Nobody serves, and at the cable's address only.
    site = session.site(state)
    look = (
        "read -r pid _ </run/kvmlab-NAME.pid;"
        "sed -n 's/^Uid:[^0-9]*\\([0-9]*\\).*/\\1/p' /proc/$pid/status;"
        "grep -his ':1F90 [0:]* 0A ' /proc/net/tcp /proc/net/tcp6; true"
    )
    at_peer = lab.host.run(
        ("ip", "netns", "exec", site.peer_netns, "sh", "-c", look.replace("NAME", "peer")),
        timeout_sec=60,
        root=True,
    )
    in_vm = lab.vm.agent.run(("sh", "-c", look.replace("NAME", "web")), timeout_sec=60)
    for seen, address in ((at_peer, site.peer_address), (in_vm, site.vm_address)):
        owner, *sockets = seen.stdout.splitlines()
        assert owner == "65534"
        (socket,) = sockets
        octets = reversed(address.split("."))
        assert f"{''.join(f'{int(one):02X}' for one in octets)}:1F90" in socket
    with pytest.raises(UsageError, match="still open"):
        session.debrief()
    wrong = session.check()
    assert [reason.en for reason in wrong.reasons] == [
        "The VM does not reach the peer: no ping is answered."
    ]
    hints = [hint.en for _ in range(4) if (hint := session.hint()) is not None]
    assert len(hints) == 3
    assert "bridge vlan show" in hints[2]
    # Half a mend, by which the VM is healthy and the trap stays set.
    in_shell(lab, "echo 0 > /sys/class/net/kvmlab0/bridge/vlan_filtering")
    half = session.check()
    assert "still there" in half.reasons[0].en
    tap = session.site(state_of(session)).tap
    in_shell(
        lab, f"bridge vlan delete dev {tap} vid 20; bridge vlan add dev {tap} vid 1 pvid untagged"
    )
    assert session.check().passed
    (debriefing,) = session.debrief()
    assert debriefing.name == "wrong-vlan"
    assert any("20 PVID" in output for _, output in debriefing.evidence)
    assert any("vlan" in line for line in debriefing.mend)
    assert state_of(session).cost_minutes > 10  # three hints: 2, 3 and 5 minutes
    events = [(entry.event, entry.result) for entry in read_progress()]
    assert events == [
        (ProgressEvent.START, ""),
        (ProgressEvent.CHECK, "failed"),
        *[(ProgressEvent.HINT, "")] * 3,
        (ProgressEvent.CHECK, "failed"),
        (ProgressEvent.CHECK, "passed"),
    ]
    session.end()
    assert [*before.differences(HostSnapshot.take(lab.host, lab.vm))] == []


def test_a_nic_is_plugged_anew_by_hand(lab: Lab, session: IncidentSession) -> None:
    before = HostSnapshot.take(lab.host, lab.vm)
    session.start([find_fault("qemu-back-end")], "qemu-back-end")
    (debriefing,) = state_of(session).debriefings
    assert any('driver name="qemu"' in output for _, output in debriefing.evidence)
    assert not session.check().passed
    in_shell(
        lab,
        "cd /run; virsh dumpxml kvmlab-vm | sed -n '/<interface/,/<.interface>/p' > nic.xml;"
        "virsh -q detach-device kvmlab-vm nic.xml --live; sleep 2;"
        "sed -i \"s/name='qemu'/name='vhost'/; /<address/d; /<target/d; /<alias/d\" nic.xml;"
        "virsh -q attach-device kvmlab-vm nic.xml --live; rm nic.xml",
    )
    outcome = session.check()
    assert outcome.passed, outcome
    session.end()
    assert [*before.differences(HostSnapshot.take(lab.host, lab.vm))] == []


def test_giving_up_mends_two_faults_at_once(lab: Lab, session: IncidentSession) -> None:
    faults = draw(10, 4)
    assert [fault.name for fault in faults] == ["interrupt-throttling", "every-twelfth-dropped"]
    session.start(faults, "seed 10, level 4")
    outcome = session.check()
    assert len(outcome.reasons) >= 2, outcome
    debriefings = session.solve()
    assert {one.name for one in debriefings} == {fault.name for fault in faults}
    state = state_of(session)
    assert state.ended_at
    assert not state.passed
    assert not session.still_in(session.site(state))
    with pytest.raises(UsageError, match="over"):
        session.check()


def test_restore_undoes_a_start_that_was_killed(lab: Lab, session: IncidentSession) -> None:
    before = HostSnapshot.take(lab.host, lab.vm)
    run_dir = str(lab._session.lease.run_dir)  # type: ignore[union-attr]
    program = (sys.executable, "-m", "tests.incidents.killed_start", run_dir)
    killed = subprocess.run(program, capture_output=True, text=True, timeout=300)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    left = [one.what for one in leftovers(lab.host)]
    # Nobody learns from the journal what it was.
    assert left.count("Put in by the incident.") == 3, left
    assert restore(lab.host)
    assert [*before.differences(HostSnapshot.take(lab.host, lab.vm))] == []
    window = lab.vm.agent.run(("cat", "/proc/sys/net/ipv4/tcp_rmem"), timeout_sec=60).stdout
    assert window.split() != ["4096"] * 3
    modules = lab.host.run(("cat", "/proc/modules"), timeout_sec=60).stdout
    assert "br_netfilter" not in modules
