"""A stranger's host: nothing without a yes, one lab at a time, and put back whatever happens.

A few faults of each kind; `python -m bench faults` tries all of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kvmlab.changes import HostStep, leftovers, restore
from kvmlab.changes.host_lock import FOLDER
from kvmlab.changes.lab_lock import LockedRunner
from kvmlab.cli import answer
from kvmlab.domain import TestVM
from kvmlab.errors import HostBusy, HostUnreachable, Refused
from kvmlab.facts import inspect
from kvmlab.lab import open_lab
from kvmlab.schemes import Virtio
from kvmlab.schemes.registry import CATALOGUE
from tests.faults.broken_connection import try_fault
from tests.faults.kill_points import SCHEMES, FaultCase, after, kill_everywhere, killer
from tests.faults.scene import Scene
from tests.faults.stranger import CABLE, CABLES, SPEC

pytestmark = [pytest.mark.host, pytest.mark.minutes(6), pytest.mark.timeout(600)]

Out = pytest.CaptureFixture[str]
#: What takes seconds and stands for its kind.
FAULTS = (
    "kvmlab apply: kill -9 in use",
    "libvirtd: kill -9 in use",
    "ssh: cut in use",
    "peer gone before applying",
    "disk full for the journal here",
    "disk full for the journal on the host",
)


@contextmanager
def another_boot(scene: Scene) -> Iterator[None]:
    """As if the host had been started anew."""
    scene.on_host("tee", "/tmp/boot", text="another\n")
    scene.on_host("mount", "--bind", "/tmp/boot", "/proc/sys/kernel/random/boot_id")
    try:
        yield
    finally:
        scene.on_host("umount", "/proc/sys/kernel/random/boot_id")


def test_killed_at_every_moment(scene: Scene, repository: Path) -> None:
    name = Virtio(backend="vhost").id
    with killer(repository) as killing:
        cases = kill_everywhere(name, scene.host, killing, lambda case: None)
    assert len(cases) > 20
    assert {"attach", "in use", "detached"} <= {case.fault.rpartition(": ")[2] for case in cases}
    assert [case for case in cases if case.lost] == []
    assert len([case for case in cases if case.how == "by restore"]) > 8


@pytest.mark.parametrize("name", ["passthrough", "sriov-vf"])
def test_killed_with_a_function_half_given_away(name: str, scene: Scene, repository: Path) -> None:
    with killer(repository) as killing:
        cases = kill_everywhere(name, scene.host, killing, lambda case: None, every=4)
    assert [case for case in cases if case.lost] == []
    assert len([case for case in cases if case.how == "by restore"]) > 1


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault(name: str, scene: Scene) -> None:
    case = try_fault(name, scene)
    assert not case.lost, case
    assert "Traceback" not in case.message
    if name != "libvirtd: kill -9 in use":
        assert case.message, "this fault has a message"


def test_every_scheme_is_tried() -> None:
    assert {scheme.id for scheme in CATALOGUE} <= set(SCHEMES)


def test_nothing_without_a_yes(scene: Scene, capsys: Out) -> None:
    with open_lab(SPEC, cable=CABLE) as lab:
        plan = lab.plan(Virtio())
        with pytest.raises(Refused, match="Nobody said yes") as caught:
            plan.apply(lab.vm)
        assert caught.value.rule == "no-consent"
        assert caught.value.exit_code == 1
    words = ("virtio-qemu", "--host", SPEC, "--cable", CABLE)
    assert answer(["plan", *words, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [step["after"] for step in document["steps"][:2]] == ["02:6b:76:6d:6c:00", "kvmlab0"]
    assert "+    <interface type='bridge'>" in document["domain_diff"].replace('"', "'")
    assert answer(["apply", *words, "--dry-run"]) == 0
    assert "Put the port p2p1 into the bridge." in capsys.readouterr().out
    assert answer(["apply", *words]) == 1
    assert "--yes" in capsys.readouterr().err
    assert not after("", "", scene.host, scene.vm, scene.before).lost
    assert answer(["apply", *words, "--yes", "--for", "0"]) == 0
    assert "Everything is put back." in capsys.readouterr().out
    assert not after("", "", scene.host, scene.vm, scene.before).lost
    assert answer(["plan", "virtio-qemu", "--host", SPEC, "--cable", f"mgmt0{CABLE[4:]}"]) == 1
    assert "carries the connection to the host" in capsys.readouterr().err


def test_only_the_name_of_what_would_be_cut_lets_a_command_go_on(
    scene: Scene, capsys: Out, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The port has an address of the host; each command has to be told that it may go."""
    monkeypatch.chdir(tmp_path)
    scene.on_host("ip", "address", "add", "198.51.100.8/24", "dev", "p2p1")
    domain = (
        "<domain type='qemu'><name>web1</name><memory unit='MiB'>64</memory>"
        "<os><type>hvm</type></os></domain>"
    )
    scene.on_host("tee", "/tmp/web1.xml", text=domain)
    scene.on_host("virsh", "-c", "qemu:///system", "define", "/tmp/web1.xml")
    inventory = tmp_path / "hosts.yaml"
    inventory.write_text(f"hosts:\n  kvm1: {{uri: {SPEC!r}, cable: {CABLE!r}}}\n")
    on_host = ("--host", SPEC, "--cable", CABLE)
    one = ("--trials", "1", "--seconds", "1", "-w", "latency")
    commands = {
        "plan": (("plan", "virtio-qemu", *on_host), ""),
        "measure": (("measure", "virtio-qemu", *on_host, *one, "--dry-run"), ""),
        "define": (("define", "virtio-qemu", "--domain", "web1", *on_host, "--yes"), ""),
        "fleet": (
            ("fleet", "measure", "virtio-qemu", "-i", str(inventory), *one, "--yes"),
            "kvm1:",
        ),
    }
    try:
        for name, (words, prefix) in commands.items():
            assert answer(words) in (1, 3), name
            printed = capsys.readouterr()
            message = printed.out + printed.err
            assert "198.51.100.8" in message, f"{name} does not say what would be cut: {message}"
            assert answer((*words, "--cut", f"{prefix}p2p1")) in (1, 3), f"{name}: another name"
            capsys.readouterr()
            cuts = ("--cut", f"{prefix}198.51.100.8/24")
            assert answer((*words, *cuts)) == 0, f"{name}: {capsys.readouterr().err}"
            capsys.readouterr()
        undo = ("define", "--undo", "--domain", "web1", "--host", SPEC, "--yes")
        assert answer(undo) == 0, capsys.readouterr().err
    finally:
        scene.on_host("virsh", "-c", "qemu:///system", "undefine", "web1")
        scene.on_host("ip", "address", "delete", "198.51.100.8/24", "dev", "p2p1")
    assert not after("", "", scene.host, scene.vm, scene.before).lost


def test_a_lock_is_broken_by_a_yes_to_its_holders_name(scene: Scene, capsys: Out) -> None:
    holder = "scheme virtio-vhost; its last message came"
    with scene.plan().applied(scene.vm):
        assert answer(["unlock", "--host", SPEC]) == 1
        printed = capsys.readouterr()
        assert holder in printed.out
        assert "breaking the lock" in printed.err
        assert answer(["unlock", "--host", SPEC, "--yes"]) == 0
        assert f"kvmlab restore --host {SPEC}" in capsys.readouterr().out
        with pytest.raises(HostUnreachable, match="lock"):
            LockedRunner(scene.host).run(("true",), timeout_sec=60)
    # Nobody has taken the lock since: this lab takes it again to put its change back.
    assert "broken by" in scene.on_host("cat", f"{FOLDER}/log")
    assert not after("", "", scene.host, scene.vm, scene.before).lost
    assert answer(["unlock", "--host", SPEC]) == 0
    assert "Nobody has the lock" in capsys.readouterr().out


def test_another_machine_is_told_who_works_there_and_puts_it_right(
    scene: Scene, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Out
) -> None:
    plan = scene.plan()
    with plan.applied(scene.vm), monkeypatch.context() as elsewhere:
        elsewhere.setenv("KVMLAB_STATE_HOME", str(tmp_path / "elsewhere"))
        # By its address: the same host under another name.
        with open_lab(scene.stranger.plain_uri, cable=CABLE, allow_changes=True) as lab:
            assert lab.inspect().leftovers == (), "a live run has no leftovers"
            with pytest.raises(HostBusy, match=r"process \d+, since 20.*scheme virtio-vhost"):
                lab.plan(Virtio()).apply(lab.vm)
    with killer(repository) as killing:
        moments = killing.apply(plan)["seen"]
        killing.apply(plan, moments.index("in use"))
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("KVMLAB_STATE_HOME", str(tmp_path / "third"))
        with scene.stranger.open() as host:
            vm = TestVM.find(host)
            left = leftovers(host)
            assert len(left) == len(plan.steps)
            assert answer(["restore", "--host", SPEC, "--dry-run"]) == 0
            printed = capsys.readouterr().out
            assert "would run: ip link set dev p2p1 nomaster" in printed
            assert "would run: ip link delete dev kvmlab0" in printed
            with another_boot(scene):
                reported = [leftover.what for leftover in leftovers(host)]
            assert plan.steps[0].what not in reported, "it has ended with the host's boot"
            assert "was started anew since virtio-vhost was applied" in reported[-1]
            facts = inspect(host, prove_kvm=False)
            with pytest.raises(Refused, match="left changes behind"):
                Virtio().plan(facts, cable=CABLES["p2p1"], vm=vm).apply(vm)
            case: FaultCase = after("", "", host, vm, scene.before)
            assert (case.how, case.left) == ("by restore", ())
    # A setting that reads as the dead run left it was set by somebody else since, and is theirs.
    bridge = plan.steps[0]
    assert isinstance(bridge, HostStep)
    scene.on_host("ip", "link", "add", "kvmlab0", "address", bridge.after, "type", "bridge")
    assert restore(scene.host) == ()
    assert scene.on_host("cat", bridge.setting.path) == bridge.after
    scene.on_host("ip", "link", "delete", "kvmlab0")
