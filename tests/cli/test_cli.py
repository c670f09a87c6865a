"""The command line: errors are sentences, and exit codes say their kind."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import kvmlab
from kvmlab.cli import answer
from kvmlab.errors import UsageError
from kvmlab.results import save
from tests.report import made

Out = pytest.CaptureFixture[str]


def test_version(repository: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "kvmlab", "--version"],
        cwd=repository,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == f"kvmlab {kvmlab.__version__}\n"


def test_notebooks_are_listed_with_their_parameters(capsys: Out) -> None:
    assert answer(["notebooks"]) == 0
    said = capsys.readouterr().out
    assert "00-packet-path  The path of a packet" in said
    assert "HOST (str, by default 'embedded')" in said
    assert answer(["notebooks", "--json"]) == 0
    (first, *_) = json.loads(capsys.readouterr().out)
    assert first["name"] == "00-packet-path"
    assert first["parameters"][0]["name"] == "HOST"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("run", "00", "--language", "fr"), "Their languages are: en, zh-CN."),
        (("notebooks", "--language", "fr"), "not kept in the language 'fr'"),
        (("lab", "--language", "fr"), "not kept in the language 'fr'"),
        (("run", "99"), "There is no notebook '99'."),
        (("run", "01", "-p", "TRAILS=3"), "Did you mean TRIALS?"),
        (("run", "01", "-p", "TRIALS=three"), "a whole number"),
        (("run", "01", "-p", "TRIALS"), "is not a parameter"),
        (("run", "01", "-p", "CLOCK=lunar"), "There is no clock 'lunar'."),
        (("run", "00", "--host", "vmware://x"), "vmware://x"),
        (("run", "00", "-p", "CABLE=eth1", "--dry-run"), "'eth1' is no cable."),
        (("run", "00", "-p", "VM=a/b"), "'a/b' cannot be the name of a VM."),
        (("plan", "macvtp"), "Did you mean macvtap?"),
        (("plan", "macvtap", "-k", "mode"), "'mode' is no knob."),
        (("apply", "e1000", "--cable", "eth1"), "'eth1' is no cable."),
        (("restore", "--host", "nonsense"), "nonsense"),
        (("run", "00", "--host", "embedded", "-p", "HOST=qemu:///system"), "given twice"),
        (("run", "00", "--out", "/proc/x"), "/proc/x"),
        (("inspect", "--host", "nonsense"), "nonsense"),
        (("doctor", "--host", "nonsense"), "nonsense"),
        (("lab", "99"), "There is no notebook '99'."),
        (("compare", "a", "b", "--in", "/proc/x"), "There is no run `a`"),
        (("compare", "/etc", "b"), "is no run of kvmlab"),
        (("run", "--unknown"), "No such option"),
        (("nonsense",), "No such command"),
    ],
)
def test_bad_input_is_answered_with_a_sentence(
    capsys: Out, words: tuple[str, ...], said: str
) -> None:
    assert answer(words) == 2
    told = capsys.readouterr()
    assert said in told.err
    assert "Traceback" not in told.err
    assert told.out == ""


def test_a_dry_run_says_what_would_run(capsys: Out) -> None:
    assert answer(["run", "01", "-p", "TRIALS=7", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("01-full-emulation-and-virtio: ")
    assert "    TRIALS = 7\n" in said
    assert "    APPLY = False\n" in said


def test_an_error_is_raised_when_its_traceback_is_asked_for() -> None:
    with pytest.raises(UsageError):
        answer(["--debug", "run", "99"])


def test_an_unreachable_host_fails_in_seconds(capsys: Out) -> None:
    assert answer(["inspect", "--host", "qemu+ssh://nobody@127.0.0.1:1/system"]) == 1
    assert "127.0.0.1" in capsys.readouterr().err


def test_runs_are_listed_and_compared(capsys: Out, tmp_path: Path) -> None:
    assert answer(["runs", "--in", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"There is no run in {tmp_path}.\n"
    for name in ("old", "new"):
        save([made.e1000(), made.virtio()], tmp_path / name)
    assert answer(["runs", "--json", "--in", str(tmp_path)]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [(run["name"], run["status"], run["trials"]) for run in listed] == [
        ("new", "finished", 12),
        ("old", "finished", 12),
    ]
    assert answer(["compare", "old", "new", "--json", "--in", str(tmp_path)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {one["scheme"] for one in told["schemes"]} == {"e1000", "virtio-qemu"}
    verdicts = {v["verdict"] for one in told["schemes"] for v in one["verdicts"]}
    assert verdicts == {"no difference shown"}


@pytest.mark.host
def test_doctor_of_the_embedded_host(capsys: Out) -> None:
    assert answer(["doctor", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["counts"]["problem"] == 0
    assert {"rule", "verdict", "read", "found", "fix"} <= told["findings"][0].keys()
    assert [one["scheme"] for one in told["schemes"]][:2] == ["e1000", "e1000e"]
