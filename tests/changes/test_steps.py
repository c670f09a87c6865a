"""Steps as JSON, settings as text, and the script that reads them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kvmlab.changes import AttachInterface, Command, ConfigureGuest, HostStep, Setting, Step
from kvmlab.changes.guest import GuestInterface, parse_configured
from kvmlab.changes.settings import parse_settings, read_settings
from kvmlab.changes.steps import step_from_dict
from kvmlab.errors import OutputError
from kvmlab.hosts import LocalRunner

STEPS: tuple[Step, ...] = (
    HostStep(
        what="Write.",
        setting=Setting("/sys/x", None, "7"),
        do=(Command.write("/sys/x", "7", only_when=("/sys/y", "0")), Command(("ip", "link"))),
        undo=(Command.write("/sys/x", "0"),),
        touches=("p2p1", "0000:0b:00.0"),
        settles=True,
        below_device=True,
    ),
    AttachInterface(
        what="Attach.",
        domain="vm",
        mac="52:54:00:00:00:01",
        interface_xml="<interface/>",
        vhost_workers=2,
        touches=("p2p1",),
    ),
    ConfigureGuest(
        what="Configure.",
        mac="52:54:00:00:00:01",
        vm_address="192.0.2.10/24",
        peer_address="192.0.2.1/24",
        timeout_sec=60,
        channels=2,
        must_answer=False,
    ),
)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.kind)
def test_a_step_survives_the_journal(step: Step) -> None:
    assert step_from_dict(json.loads(json.dumps(step.to_dict()))) == step


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.kind)
def test_a_step_says_what_it_does(step: Step) -> None:
    assert step.what.endswith(".")
    assert step.before
    assert step.after
    assert step.do_text


@pytest.mark.parametrize("data", [{}, {"kind": "new"}, {"kind": "attach", "colour": "red"}])
def test_an_unknown_step_is_said(data: dict[str, str]) -> None:
    with pytest.raises(OutputError):
        step_from_dict(data)


def test_a_written_file_is_shown_as_people_write_it() -> None:
    assert Command.write("/sys/a b", "7").shown == "echo 7 > '/sys/a b'"


def test_settings_of_a_real_machine(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("  two words \nsecond line\n")
    (tmp_path / "empty").write_text("")
    (tmp_path / "link").symlink_to("../some/where/target0")
    (tmp_path / "dir").mkdir()
    names = ("file", "empty", "link", "dir", "missing")
    paths = {name: str(tmp_path / name) for name in names}
    read = read_settings(LocalRunner(), [*paths.values(), paths["file"]])
    assert {name: read[path] for name, path in paths.items()} == {
        "file": "  two words ",
        "empty": "",
        "link": "target0",
        "dir": "present",
        "missing": None,
    }


def test_flags_read_as_up_and_down() -> None:
    assert read_settings(LocalRunner(), ["/sys/class/net/lo/flags"]) == {
        "/sys/class/net/lo/flags": "up"
    }


def test_no_settings_need_no_round_trip() -> None:
    assert read_settings(LocalRunner(), ()) == {}


@pytest.mark.parametrize("text", ["", "= 1\n", "= 1\n-\n-\n", "= 1\nwhat\n"])
def test_an_answer_of_another_shape_is_said(text: str) -> None:
    with pytest.raises(OutputError):
        parse_settings(text, ("a", "b"))


def test_what_the_guest_says(data: Path) -> None:
    text = "interface eth0\ndriver virtio_net\nseconds 0.04 0.05 1.11\n"
    assert parse_configured(text) == GuestInterface("eth0", "virtio_net", 0.04, 0.05, 1.11)


@pytest.mark.parametrize("text", ["", "interface eth0\n", "interface e\ndriver d\nseconds 1 2\n"])
def test_a_guest_that_says_something_else(text: str) -> None:
    with pytest.raises(OutputError):
        parse_configured(text)
