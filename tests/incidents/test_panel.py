"""The panel of an incident: its buttons follow the incident, and its texts the language."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from ipywidgets import HBox

from kvmlab.course.bilingual import Bilingual
from kvmlab.errors import UsageError
from kvmlab.incidents import Health, IncidentSession, IncidentState
from kvmlab.incidents.panel import IncidentPanel
from kvmlab.incidents.session import Debriefing, IncidentCheck
from kvmlab.widgets import HostTerminal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvmlab.incidents import Fault

SITE = {"vm_address": "192.0.2.10", "peer_address": "192.0.2.1"}
HEALTHY = Health(loss=0, round_trip_ms=0.2, large_loss=0, download=100, upload=100)


class RecordedSession:
    """An incident without a host: its checks fail once, then pass."""

    def __init__(self) -> None:
        self.state: IncidentState | None = None
        self.checks = [
            IncidentCheck((Bilingual("Pings are <lost>.", "ping 丢失。"),), HEALTHY),
            IncidentCheck((), HEALTHY),
        ]

    def start(self, faults: Sequence[Fault], label: str) -> IncidentState:
        names = tuple(fault.name for fault in faults)
        self.state = IncidentState(label, names, 0.0, None, SITE, HEALTHY, cast("Any", None))
        return self.state

    def check(self) -> IncidentCheck:
        checked = self.checks.pop(0)
        if checked.passed:
            self._end()
        return checked

    def hint(self) -> Bilingual | None:
        return Bilingual("Look at the tap.", "看看 tap。")

    def debrief(self) -> tuple[Debriefing, ...]:
        if self.state is None:
            raise UsageError("No incident was started.", todo="Start one.")
        shown = (("tc qdisc", "<tbf>"),)
        return (
            Debriefing(
                "tap-shaper", Bilingual("A tbf.", "限速。"), shown, ("tc del",), Bilingual("-", "-")
            ),
        )

    def end(self) -> None:
        self.state = None

    def _end(self) -> None:
        assert self.state is not None
        self.state = IncidentState(**{**vars(self.state), "ended_at": 60.0, "passed": True})


@pytest.fixture
def panel() -> IncidentPanel:
    return IncidentPanel(cast("IncidentSession", RecordedSession()))


def enabled(panel: IncidentPanel) -> set[str]:
    return {name for name, button in panel.buttons.items() if not button.disabled}


def test_buttons_follow_the_incident(panel: IncidentPanel) -> None:
    assert enabled(panel) == {"Start"}
    panel.press("Start")
    assert enabled(panel) == {"Start", "Check", "Hint", "Give up", "End"}
    assert "blockquote" in panel.report.value
    assert "100 MiB/s" in panel.report.value
    panel.press("Hint")
    assert "Look at the tap." in panel.message.value
    panel.press("Check")
    assert "Pings are &lt;lost&gt;." in panel.message.value
    assert "Look at the tap." in panel.message.value
    panel.press("Check")
    assert "✓" in panel.message.value
    assert enabled(panel) == {"Start", "Debrief", "End"}
    panel.press("Debrief")
    assert "&lt;tbf&gt;" in panel.message.value
    panel.press("End")
    assert enabled(panel) == {"Start"}


def test_an_error_is_shown_in_the_panel(panel: IncidentPanel) -> None:
    session = SimpleNamespace(state=None)
    broken = IncidentPanel(cast("IncidentSession", session))

    def fail() -> None:
        raise UsageError("The host is <gone>.", todo="Start it.")

    session.end = fail
    broken.press("End")
    broken.buttons["End"].disabled = False
    broken.press("End")
    assert "The host is &lt;gone&gt;." in broken.message.value


def test_it_speaks_chinese(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KVMLAB_LANGUAGE", "zh-CN")
    panel = IncidentPanel(cast("IncidentSession", RecordedSession()))
    assert panel.buttons["Check"].description == "检查"
    panel.press("Start")
    assert "此前" in panel.report.value


def test_an_interrupt_says_what_puts_the_host_back(
    panel: IncidentPanel, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel.press("Start")

    def interrupted() -> IncidentCheck:
        raise KeyboardInterrupt

    monkeypatch.setattr(panel.session, "check", interrupted)
    panel.press("Check")
    assert "Interrupted. End puts the host back." in panel.message.value
    assert "End" in enabled(panel)


@pytest.mark.parametrize("headless", [False, True])
def test_a_terminal_is_offered_above_the_panel(
    headless: bool, displayed: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    if headless:
        monkeypatch.setenv("KVMLAB_HEADLESS", "yes")
    terminal = HostTerminal(("kvmlab", "host", "ssh"))
    IncidentPanel(cast("IncidentSession", RecordedSession()), terminal)._ipython_display_()
    assert [one is terminal for one in displayed] == ([False] if headless else [True, False])


def test_no_button_is_cut_on_a_narrow_page(panel: IncidentPanel) -> None:
    """Rows of controls go on in the next line."""
    rows = [child for child in panel.controls.children if isinstance(child, HBox)]
    assert len(rows) == 2
    assert all(row.layout.flex_flow == "row wrap" for row in rows)
