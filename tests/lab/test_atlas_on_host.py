"""An atlas on embedded hosts: two at a time measure what one measures, and leave nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kvmlab.changes import leftovers
from kvmlab.lab.atlas_survey import TRIALS

if TYPE_CHECKING:
    from kvmlab.lab import Lab

pytestmark = [pytest.mark.host, pytest.mark.timeout(600)]

SHORT = replace(TRIALS, count=1, workloads=("tcp_up",))


def test_two_hosts_agree_with_one_and_a_restarted_vm_with_its_own_kind(
    lab: Lab, tmp_path: Path
) -> None:
    two = lab.atlas(
        "guest-tso=off",
        "serial-ports=31",
        "in-order=on",
        folder=tmp_path / "two",
        trials=SHORT,
        jobs=2,
        baselines=1,
    )
    one = lab.atlas("guest-tso=off", folder=tmp_path / "one", trials=SHORT, jobs=1, baselines=1)
    for atlas in (one, two):
        effect = atlas.row("guest-tso=off").effect("throughput")
        assert effect is not None
        assert effect.ratio == pytest.approx(0.36, rel=0.1)
    by_one, by_two = (a.row("guest-tso=off").effect("throughput") for a in (one, two))
    assert by_one is not None
    assert by_two is not None
    assert by_two.baseline == pytest.approx(by_one.baseline, rel=0.03)
    assert by_two.current == pytest.approx(by_one.current, rel=0.03)
    paid = {payer.part for payer in two.row("guest-tso=off").bill("tcp_up")}
    assert {"guest", "vCPU in KVM", "vhost worker", "softirq", "peer's server"} <= paid
    assert two.row("serial-ports=31").against == "serial-ports=2"
    assert two.row("serial-ports=31").effect("throughput") is not None
    assert two.row("in-order=on").refused.startswith("libvirt has no attribute")
    # Nothing was measured on the lab's own host, and nothing is in place there.
    assert leftovers(lab.host) == ()
