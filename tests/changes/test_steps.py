"""Steps as JSON, settings as text, and the script that reads them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from kvmlab.changes import (
    AttachInterface,
    Command,
    ConfigureGuest,
    HostStep,
    Setting,
    Step,
    operations,
)
from kvmlab.changes.guest_configuration import ConfiguredInterface, parse_configured
from kvmlab.changes.journal_format import step_of, step_record
from kvmlab.changes.settings import parse_settings, read_settings
from kvmlab.errors import OutputError
from kvmlab.hosts import LocalRunner

PORT = ("restore-port", "0000:0b:00.0", "igb", "-", "-", "p2p1", "up")
STEPS: tuple[Step, ...] = (
    HostStep(
        what="Write.",
        setting=Setting("/sys/x", None, "7"),
        do=(Command(("ip", "link")),),
        undo=(operations.write_setting("/sys/x", "0"), operations.unload_module("x")),
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
    read = step_of(json.loads(json.dumps(step_record(step))))
    if isinstance(step, AttachInterface):
        step = replace(step, interface_xml="")  # no undo needs it, and it may be private
    assert read == step


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.kind)
def test_a_step_describes_itself(step: Step) -> None:
    assert step.what.endswith(".")
    assert step.before
    assert step.after
    assert step.do_text


@pytest.mark.parametrize("data", [{}, {"kind": "new"}, {"kind": "attach", "colour": "red"}])
def test_an_unknown_step_is_reported(data: dict[str, str]) -> None:
    with pytest.raises(ValueError):
        step_of(data)


def test_only_operations_are_journalled() -> None:
    """A command line that no operation stands for could not be undone from a journal."""
    host_step = STEPS[0]
    assert isinstance(host_step, HostStep)
    step = replace(host_step, undo=(Command(("rm", "-r", "/srv")),))
    with pytest.raises(ValueError, match="`rm -r /srv` is no operation"):
        step_record(step)


@pytest.mark.parametrize(
    "operation",
    [
        ("rm", "-r", "/"),
        ("write", "/sys/../etc/passwd", "0"),
        ("write", "/etc/passwd", "0"),
        ("write", "/sys/kernel/uevent_helper", "a b"),
        ("write", "/sys/x", "0\n1"),
        ("write", "/sys/x"),
        ("delete-link", "--help"),
        ("delete-link", "a/b"),
        ("unload-module", "../x"),
        ("set-alias", "p2p1", "a\x1b[2J"),
        ("flush-address", "p2p1", "0.0.0.0/0; reboot"),
        ("restore-port", "0000:0b:00.0", "igb", "-", "p2p1", "-", "up", "0", "52:54:00:00:00:01"),
        (*PORT, "0", "52:54:00:00:00:01"),
        (*PORT, "9", "52:54:00:00:00:01", "x"),
        (*PORT, "9", "52:54:00:00:00:01", "+", "p2p2"),
    ],
)
def test_a_journal_makes_nothing_else_run(operation: tuple[str, ...]) -> None:
    record = {**step_record(STEPS[0]), "undo": [operation]}
    with pytest.raises(ValueError, match=r"no operation|no value|with 1 values|no interface"):
        step_of(record)


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


@pytest.mark.parametrize(
    "text",
    ["", "x", "=== settings\n==> a <==\n1\n", "=== settings\n==> c <==\n1\n=== end\n"],
)
def test_a_malformed_answer_is_reported(text: str) -> None:
    with pytest.raises(OutputError):
        parse_settings(text, ("a", "b"))


def test_the_report_of_the_guest(data: Path) -> None:
    text = "interface eth0\ndriver virtio_net\nseconds 0.04 0.05 1.11\n"
    assert parse_configured(text) == ConfiguredInterface("eth0", "virtio_net", 0.04, 0.05, 1.11)


@pytest.mark.parametrize("text", ["", "interface eth0\n", "interface e\ndriver d\nseconds 1 2\n"])
def test_a_malformed_report_of_the_guest(text: str) -> None:
    with pytest.raises(OutputError):
        parse_configured(text)
