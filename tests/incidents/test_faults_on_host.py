"""Every fault is put in, noticed by measuring, and mended, on one host."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kvmlab.changes.change import AppliedSteps
from kvmlab.incidents import FAULTS, Effect, Fault, FaultSite, Health, Prober

if TYPE_CHECKING:
    from kvmlab.changes import Change
    from kvmlab.lab import Lab
    from kvmlab.schemes import Scheme

pytestmark = [pytest.mark.host, pytest.mark.minutes(7)]

SCHEMES = list(dict.fromkeys(fault.scheme for fault in FAULTS.values()))


def by_scheme(fault: Fault) -> int:
    return SCHEMES.index(fault.scheme)


@pytest.fixture(scope="module")
def module_state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Set one state directory for the changes that last over the module's tests."""
    with pytest.MonkeyPatch.context() as patch:
        path = tmp_path_factory.mktemp("state")
        patch.setenv("KVMLAB_STATE_HOME", str(path))
        yield path


ORDERED: list[Fault] = sorted(FAULTS.values(), key=by_scheme)


class Stage:
    """The host with a sound NIC of one scheme at a time, and its health."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self._scheme: Scheme | None = None
        self._change: Change | None = None
        self._near: AppliedSteps | None = None
        self.site: FaultSite
        self.healthy: Health

    def with_scheme(self, scheme: Scheme, *, near_peer: bool = False) -> None:
        if scheme == self._scheme:
            return
        self.close()
        self.lab.inspect()
        plan = self.lab.plan(scheme)
        self._change = plan.apply(self.lab.vm)
        self._scheme = scheme
        self.site = FaultSite.of(self.lab, plan)
        if near_peer:
            self.site, step = self.site.with_near_peer()
            self._near = AppliedSteps(self.lab.vm, (step,), scheme="incident")
            self._near.apply()
        prober = Prober(self.site)
        prober.start()
        self.healthy = prober.measure()

    def close(self) -> None:
        change, self._change, self._scheme = self._change, None, None
        if change is not None:
            Prober(self.site).stop()
            near, self._near = self._near, None
            if near is not None:
                near.revert()
            change.revert()


@pytest.fixture(scope="module")
def stage(lab: Lab, module_state: Path) -> Iterator[Stage]:
    """Yield the host with a NIC that tests change."""
    stage = Stage(lab)
    yield stage
    stage.close()


@contextmanager
def put_in(fault: Fault, stage: Stage) -> Iterator[None]:
    altered = AppliedSteps(stage.lab.vm, fault.steps(stage.site), scheme="incident")
    altered.apply()
    try:
        yield
    finally:
        altered.revert()


@pytest.mark.parametrize(
    "fault",
    # Those of one scheme after another: a NIC is plugged in once for all of them.
    ORDERED,
    ids=lambda fault: fault.name,
)
def test_a_fault_is_noticed_and_mended(
    fault: Fault, stage: Stage, module_state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KVMLAB_STATE_HOME", str(module_state))
    stage.with_scheme(fault.scheme, near_peer=fault.near_peer)
    assert not fault.is_in(stage.site)
    if fault.faulty_scheme is not None:
        healthy = stage.healthy
        stage.with_scheme(fault.faulty_scheme)
        seen = stage.healthy.effects(healthy)
        assert fault.is_in(stage.site)
    else:
        prober = Prober(stage.site)
        with put_in(fault, stage):
            assert fault.is_in(stage.site)
            seen = prober.measure(fault.effects).effects(stage.healthy)
        again = prober.measure(fault.effects)
        assert again.effects(stage.healthy) == (), again
        assert not fault.is_in(stage.site)
    assert set(fault.effects) <= set(seen), (seen, stage.healthy)


def test_every_effect_has_its_faults() -> None:
    assert {effect for fault in FAULTS.values() for effect in fault.effects} == set(Effect)
