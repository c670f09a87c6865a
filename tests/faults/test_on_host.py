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
from kvmlab.cli import answer
from kvmlab.domain import TestVM
from kvmlab.errors import HostBusy, Refused
from kvmlab.facts import inspect
from kvmlab.lab import open_lab
from kvmlab.schemes import Virtio
from tests.faults.breaking import try_fault
from tests.faults.killing import SCHEMES, Case, after, kill_everywhere, killer
from tests.faults.scene import Scene
from tests.faults.stranger import CABLE, SPEC, WIRES, stranger

pytestmark = [pytest.mark.host, pytest.mark.timeout(600)]

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


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Iterator[Scene]:
    """One stranger's host for all tests of this file; each leaves it as it was."""
    folder = tmp_path_factory.mktemp("stranger")
    with stranger(folder) as found:
        made = Scene.on(found, folder, repository)
        yield made
        made.host.close()


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
    assert "Traceback" not in case.said
    if name != "libvirtd: kill -9 in use":
        assert case.said, "whoever meets this fault is told"


def test_every_scheme_is_tried() -> None:
    from kvmlab.schemes.naming import NAMES

    assert set(NAMES) <= set(SCHEMES)


def test_nothing_without_a_yes(scene: Scene, capsys: Out) -> None:
    with open_lab(SPEC, wire=CABLE) as lab:
        plan = lab.plan(Virtio())
        with pytest.raises(Refused, match="Nobody said yes") as caught:
            plan.apply(lab.vm)
        assert caught.value.rule == "no-consent"
        assert caught.value.exit_code == 1
    words = ("virtio-qemu", "--host", SPEC, "--cable", CABLE)
    assert answer(["plan", *words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [step["after"] for step in told["steps"][:2]] == ["02:6b:76:6d:6c:00", "kvmlab0"]
    assert "+    <interface type='bridge'>" in told["domain_diff"].replace('"', "'")
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


def test_another_machine_is_told_who_works_there_and_puts_it_right(
    scene: Scene, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = scene.plan()
    with plan.applied(scene.vm), monkeypatch.context() as elsewhere:
        elsewhere.setenv("KVMLAB_STATE_HOME", str(tmp_path / "elsewhere"))
        # By its address: the same host under another name.
        with open_lab(scene.stranger.plain_uri, wire=CABLE, allow_changes=True) as lab:
            assert lab.inspect().leftovers == (), "a run that is alive has no leftovers"
            with pytest.raises(HostBusy, match=r"process \d+, since 20.*scheme virtio-vhost"):
                lab.plan(Virtio()).apply(lab.vm)
    with killer(repository) as killing:
        seen = killing.apply(plan)["seen"]
        killing.apply(plan, seen.index("in use"))
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("KVMLAB_STATE_HOME", str(tmp_path / "third"))
        with scene.stranger.open() as host:
            vm = TestVM.find(host)
            left = leftovers(host)
            assert len(left) == len(plan.steps)
            with another_boot(scene):
                told = [one.what for one in leftovers(host)]
            assert plan.steps[0].what not in told, "it has ended with the host's boot"
            assert "was started anew since virtio-vhost was applied" in told[-1]
            facts = inspect(host, prove_kvm=False)
            with pytest.raises(Refused, match="left changes behind"):
                Virtio().plan(facts, wire=WIRES["p2p1"], vm=vm).apply(vm)
            case: Case = after("", "", host, vm, scene.before)
            assert (case.how, case.left) == ("by restore", ())
    # What reads as the dead run made it was made by somebody else since, and is theirs.
    bridge = plan.steps[0]
    assert isinstance(bridge, HostStep)
    scene.on_host("ip", "link", "add", "kvmlab0", "address", bridge.after, "type", "bridge")
    assert restore(scene.host) == ()
    assert scene.on_host("cat", bridge.setting.path) == bridge.after
    scene.on_host("ip", "link", "delete", "kvmlab0")
