"""One table of rules: whoever says that something is not possible says it with an id from there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from kvmlab.doctor.examination import ELSEWHERE, JUDGES
from kvmlab.facts.rules import BOOK, Rule, unavailable
from tests.doctor.test_rules import PROBLEM, TABLE, WARNING
from tests.house.tree import modules

# ARTICLE's pains that people report, by number: every one has its rule.
PAINS = {
    1: Rule.GROUP_NOT_VIABLE,
    2: Rule.IOMMU_OFF,
    3: Rule.LOCKED_MEMORY,
    4: Rule.VHOST_NET_MISSING,
    5: Rule.VF_MAC_UNSET,
    6: Rule.VF_TRUST,
    7: Rule.BRIDGE_ON_PORT_WITH_VFS,
    8: Rule.MACVTAP_ISOLATION,
    9: Rule.MACVTAP_RX_FILTERS,
    10: Rule.QUEUES_MISMATCH,
    11: Rule.NUMVFS_REFUSED,
    12: Rule.WINDOWS_NETKVM,
    13: Rule.VF_BLOCKS_MIGRATION,
    14: Rule.KERNELSPEC_MISSING,
    15: Rule.PLOTLY_NOT_OFFLINE,
    16: Rule.WIDGETS_MISSING,
    17: Rule.IGB_CHECKSUMS,
    18: Rule.BUS_RESET,
    19: Rule.NOT_GIVEN_BACK,
    20: Rule.GUEST_DRIVER_MISSING,
    21: Rule.KVM_NOT_USABLE,
    22: Rule.VF_REGISTERS_DEAD,
}


def written_ids() -> Iterator[tuple[str, str]]:
    """Every id that is written as a text where an error or a refusal is made."""
    for module in modules():
        for node in ast.walk(module.tree):
            if not isinstance(node, ast.Call):
                continue
            ids = [keyword.value for keyword in node.keywords if keyword.arg == "rule"]
            if ast.unparse(node.func) == "Refusal":
                ids += node.args[:1]
            for value in ids:
                if isinstance(value, ast.Constant) and value.value:
                    yield module.where(node), str(value.value)


def test_ids_that_are_written_out_are_rules() -> None:
    known = {str(rule) for rule in Rule}
    unknown = [f"{place}: {name}" for place, name in written_ids() if name not in known]
    assert not unknown, "\n".join(unknown)


def test_every_pain_is_provoked_and_reported_by_the_doctor() -> None:
    reported = {rule for rule, verdict, _ in TABLE if verdict in (PROBLEM, WARNING)}
    missing = {number: rule for number, rule in PAINS.items() if rule not in reported}
    assert not missing


def test_every_rule_is_judged_once() -> None:
    assert len(JUDGES) + len(ELSEWHERE) == len(Rule)


@pytest.mark.parametrize("rule", Rule)
def test_every_rule_has_an_entry_of_whole_sentences(rule: Rule) -> None:
    entry = BOOK[rule]
    assert entry.title
    assert not entry.title.endswith(".")
    for text in (entry.cause, entry.fix):
        assert text.endswith("."), f"{rule}: {text}"
    error = unavailable(rule, "It cannot.")
    assert (error.rule, error.todo) == (rule, entry.fix)


def test_the_table_of_the_doctor_lists_every_rule_in_its_order(repository: Path) -> None:
    rows = (repository / "docs" / "doctor.md").read_text().splitlines()
    listed = [match[1] for row in rows if (match := re.match(r"\| `([\w-]+)` \|", row))]
    assert listed == [str(rule) for rule in Rule]
