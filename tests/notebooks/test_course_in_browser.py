"""Notebook 02 as somebody takes it: predict, run, and do its tasks.

JupyterLab in Chromium with the notebook of the course; what is done by hand is typed into the
terminal that the button above the tasks opens. The trainer's board is open in another page. CI does
two of the tasks; `pytest tests/notebooks -m series` does all.
"""

from __future__ import annotations

import re
import statistics
from typing import TYPE_CHECKING, Final

import nbformat
import pytest

from kvmlab.classroom import Board, collect
from kvmlab.course import TaskState, progress_path, read_progress, task_states, tasks_of
from kvmlab.deadline import until
from kvmlab.runbook.notebooks import find_notebooks
from tests.classroom.builders import served
from tests.notebooks.course_page import Card, HostShell
from tests.notebooks.jupyterlab import (
    NOTEBOOK,
    at_rest,
    cell,
    errors_in,
    executed,
    jupyterlab,
    menu,
    offline_page,
    open_jupyterlab,
)

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

pytestmark = [pytest.mark.host, pytest.mark.minutes(3), pytest.mark.timeout(900)]

STEPS_TO_A_THIRD = 5


def notebook(language: str = "en") -> nbformat.NotebookNode:
    """Return notebook 02 with one trial of each scheme."""
    (book,) = find_notebooks(["02"], language)
    node = nbformat.from_dict(book.node)
    (parameters,) = (part for part in node.cells if part.id == "parameters")
    parameters.source = parameters.source.replace("TRIALS: int = 3", "TRIALS: int = 1")
    assert "TRIALS: int = 1" in parameters.source
    return node


PASSED = "✓ Passed."
BESIDE = "Predicted 0.33, measured 0."


def predict(page: Page) -> None:
    """Run all above the comparison, then move the slider by its keys."""
    cell(page, "trials = kvmlab.Trials(").locator(".cm-content").click()
    menu(page, "Run All Above Selected Cell")
    slider = cell(page, "guess = kvmlab.predict").locator(".noUi-handle")
    slider.wait_for(timeout=240_000)
    slider.focus()
    for _step in range(STEPS_TO_A_THIRD):
        slider.press("ArrowRight")
    until(lambda: guesses()[-1:] == ["0.33"], timeout_sec=60, what="The guess in the progress")


def guesses() -> list[str]:
    return [entry.detail for entry in read_progress() if entry.task == "02-latency"]


def shows(page: Page, code: str, words: str) -> None:
    """Wait until the cell with that code, once in view, shows those words beneath it."""
    place = cell(page, code)
    until(
        lambda: at_rest(place) and words in place.inner_text(),
        timeout_sec=60,
        what=f"{words!r} beneath {code!r}",
        evidence=lambda: f"There is: {place.inner_text()!r}",
    )


@pytest.mark.parametrize(
    "tasks",
    [
        pytest.param(("02-2", "02-4"), id="two of its tasks"),
        pytest.param(
            tuple(task.id for task in tasks_of("02")),
            id="all of its tasks",
            marks=pytest.mark.series,
        ),
    ],
)
def test_somebody_takes_notebook_02(
    tasks: tuple[str, ...],
    browser: Browser,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    work, home = tmp_path_factory.mktemp("work"), tmp_path_factory.mktemp("home")
    monkeypatch.setenv("KVMLAB_STATE_HOME", str(home / "state"))
    assert collect(home / "class", {"anna": home / "state"}) == ()
    with (
        jupyterlab(work, home, notebook()) as (address, _log),
        offline_page(browser, width=1500) as page,
        served(Board(home / "class", following=True)) as board,
    ):
        trainer = page.context.new_page()
        trainer.goto(board.url)
        page.bring_to_front()
        open_jupyterlab(page, address)
        predict(page)
        cell(page, "trials = kvmlab.Trials(").locator(".cm-content").click()
        menu(page, "Run Selected Cell and All Below")
        node = executed(page, work / NOTEBOOK)
        assert errors_in(node) == []
        beside = [out for part in node.cells if part.id == "predicted" for out in part.outputs]
        assert any(BESIDE in str(out) for out in beside), beside
        shows(page, "guess.beside(vhost_latency)", BESIDE)
        an_option_answers(cell(page, 'kvmlab.questions("02-proof")'))
        shell = HostShell(page)
        for number, task in enumerate(tasks, 1):
            do_task(Card(page, task), shell, trainer)
            assert marks(trainer) == dict.fromkeys(tasks[:number], "✓")
            page.bring_to_front()
    assert progress_path().stat().st_mode & 0o777 == 0o600
    states = task_states(read_progress())
    assert {task: states[task] for task in tasks} == dict.fromkeys(tasks, TaskState.PASSED)
    steps = [(e.event, e.hints, e.result) for e in read_progress() if e.task == "02-2"]
    assert steps == [
        ("start", 0, ""),
        ("check", 0, "failed"),
        ("hint", 1, ""),
        ("check", 1, "failed"),
        ("check", 1, "passed"),
        ("reset", 1, ""),
    ]


def marks(trainer: Page) -> dict[str, str]:
    """Return what the board shows of the seat: a sign for each task."""
    trainer.reload()
    row = trainer.locator("tbody tr").filter(has=trainer.locator("th", has_text="anna"))
    return dict(text.split() for text in row.locator("td li").all_inner_texts())


def an_option_answers(question: Locator) -> None:
    """Open a wrong option, then the right one: each says why."""
    question.get_by_text("that the module vhost_net is loaded").click()
    assert "✗ Another VM may use it" in question.inner_text()
    question.get_by_text("while packets flow").click()
    assert "✓ Right: the proof is a thread at work." in question.inner_text()


def do_task(card: Card, shell: HostShell, trainer: Page) -> None:
    """Start a task, do it with the mistakes that people make, pass, and put the host back."""
    card.press("Start", "Started.")
    DO[card.task.id](card, shell, trainer)
    until(lambda: "passed" in card.title, timeout_sec=20, what="The task's new title")
    card.press("Reset", "The host is as it was before.")


def a_worker_is_proved(card: Card, shell: HostShell, _trainer: Page) -> None:
    """Attach a NIC that QEMU serves, learn why that is not it, attach one for vhost, prove it."""
    shell.type(*card.task.mistakes[0].lines)
    card.press("Check", "The XML asks for QEMU")
    shell.type("virsh detach-interface kvmlab-vm bridge --live", "sleep 2")
    assert re.search(r"vhost-\d+", shell.type(*card.task.solution))
    card.press("Check", PASSED)


def a_macvtap_is_attached(card: Card, shell: HostShell, _trainer: Page) -> None:
    """Fail, take a hint, make a common mistake, mend it in a shell, pass."""
    card.press("Check", "The running VM has no interface")
    card.press("Hint", "direct attachment")
    shell.type(*card.task.mistakes[0].lines)
    card.press("Check", "Its mode is vepa")
    shell.type("virsh detach-interface kvmlab-vm direct --live", "sleep 2")
    shell.type(*card.task.solution)
    card.press("Check", PASSED)


def a_round_trip_is_measured(card: Card, shell: HostShell, _trainer: Page) -> None:
    """Ping as the hint says, enter the median in the wrong unit, then in the one asked for."""
    shown = shell.type("ip netns exec peer ping -n -c 40 -i 0.05 192.0.2.10")
    times = [float(ms) for ms in re.findall(r"time=([\d.]+) ms", shown)]
    assert len(times) == 40
    median_ms = statistics.median(times)
    card.check(f"{median_ms:g}", "ping prints milliseconds")
    card.check(f"{1000 * median_ms:.0f}", PASSED)


def a_slow_nic_is_mended(card: Card, shell: HostShell, trainer: Page) -> None:
    """Load the module, which does not help; the board shows it; then attach the NIC anew."""
    assert "vhost-" not in shell.type("ps -eT")
    shell.type(*card.task.mistakes[0].lines)
    card.press("Check", "The XML asks for QEMU")
    assert marks(trainer)["02-4"] == "✗"
    card.page.bring_to_front()
    card.press("Hint", "Which thread should run for the VM")
    shell.type(*card.task.solution)
    card.press("Check", PASSED)


def a_mac_is_read(card: Card, shell: HostShell, _trainer: Page) -> None:
    """Read the macvtap, enter the broadcast address, then its MAC."""
    shown = shell.type("ip -d link show type macvtap")
    mac, broadcast = re.findall(r"link/ether (\S+) brd (\S+)", shown)[0]
    card.check(broadcast, "is the broadcast address of every Ethernet")
    card.check(mac, PASSED)


def host_and_vm_talk(card: Card, shell: HostShell, _trainer: Page) -> None:
    """Give the port the address, which does not help; then give it to a macvlan of the host."""
    shell.type(*card.task.mistakes[0].lines)
    card.press("Check", "never comes back to the macvtap")
    shell.type("ip address del 192.0.2.20/24 dev p2p1", *card.task.solution)
    card.press("Check", PASSED)


DO: Final = {
    "02-1": a_worker_is_proved,
    "02-2": a_macvtap_is_attached,
    "02-3": a_round_trip_is_measured,
    "02-4": a_slow_nic_is_mended,
    "02-5": a_mac_is_read,
    "02-6": host_and_vm_talk,
}
