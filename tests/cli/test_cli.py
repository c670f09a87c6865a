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
from tests.report import builders

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


def test_the_command_has_one_name_however_it_is_started(capsys: Out) -> None:
    assert answer(["run", "--help"]) == 0
    assert "Usage: kvmlab run [OPTIONS] [NOTEBOOK]..." in capsys.readouterr().out
    assert answer(["run", "--unknown"]) == 2
    assert "Try 'kvmlab run" in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["run"], ["apply"], ["host"], ["host", "up"], ["lab"]])
def test_help_shows_no_types_of_python(capsys: Out, words: list[str]) -> None:
    answer([*words, "--help"])
    text = capsys.readouterr().out
    for name in ("<bool>", "<str>", "<path>", "<int>", "<float>", "list["):
        assert name not in text, text


def test_notebooks_are_listed_with_their_parameters(capsys: Out) -> None:
    assert answer(["notebooks"]) == 0
    text = capsys.readouterr().out
    assert "00-packet-path  The path of a packet" in text
    assert "HOST (str, by default 'embedded')" in text
    assert answer(["notebooks", "--json"]) == 0
    (first, *_) = json.loads(capsys.readouterr().out)
    assert first["name"] == "00-packet-path"
    assert first["parameters"][0]["name"] == "HOST"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("run", "00", "--language", "fr"), "Its languages are: en, zh-CN."),
        (("notebooks", "--language", "fr"), "does not speak the language 'fr'"),
        (("lab", "--language", "fr"), "does not speak the language 'fr'"),
        (("run", "99"), "There is no notebook '99'."),
        (("run", "01", "-p", "TRAILS=3"), "Did you mean TRIALS?"),
        (("run", "01", "-p", "TRIALS=three"), "a whole number"),
        (("run", "01", "-p", "TRIALS"), "is not a parameter"),
        (("run", "01", "-p", "CLOCK=lunar"), "There is no clock 'lunar'."),
        (("run", "00", "--host", "vmware://x"), "vmware://x"),
        (("run", "00", "-p", "CABLE=eth1", "--dry-run"), "'eth1' is no cable."),
        (("run", "00", "-p", "VM=a/b"), "'a/b' cannot be the name of a VM."),
        (("run", "05", "-p", "QUEUES=0"), "QUEUES=0: 0 queue pairs"),
        (("run", "04", "-p", "VFS=0"), "VFS=0: "),
        (("run", "01", "-p", "MODEL=ne2000"), "MODEL=ne2000: There is no emulated NIC"),
        (("plan", "macvtp"), "Did you mean macvtap?"),
        (("measure", "macvtp"), "Did you mean macvtap?"),
        (("measure", "macvtap:mod=vepa"), "Did you mean mode?"),
        (("measure", "macvtap", "macvtap"), "are not all different"),
        (("measure", "e1000", "--trials", "0"), "`count` is 0"),
        (("measure", "e1000", "--seconds", "-1"), "`seconds` is -1"),
        (("measure", "e1000", "-w", "tcp_upp"), "'tcp_upp' is unknown"),
        (("measure", "e1000", "--clock", "lunar"), "There is no clock 'lunar'."),
        (("measure", "e1000", "--host", "nonsense"), "nonsense"),
        (("plan", "macvtap", "-k", "mode"), "'mode' is no option."),
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
    capsys: Out, words: tuple[str, ...], sentence: str
) -> None:
    assert answer(words) == 2
    output = capsys.readouterr()
    assert sentence in output.err
    assert "Traceback" not in output.err
    assert output.out == ""


def test_a_dry_run_says_what_would_run(capsys: Out) -> None:
    assert answer(["run", "01", "-p", "TRIALS=7", "--dry-run"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("01-full-emulation-and-virtio: ")
    assert "    TRIALS = 7\n" in text
    assert "    APPLY = False\n" in text


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
        save([builders.e1000(), builders.virtio()], tmp_path / name)
    assert answer(["runs", "--json", "--in", str(tmp_path)]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [(run["name"], run["status"], run["trials"]) for run in listed] == [
        ("new", "finished", 12),
        ("old", "finished", 12),
    ]
    assert answer(["compare", "old", "new", "--json", "--in", str(tmp_path)]) == 0
    report = json.loads(capsys.readouterr().out)
    assert {entry["scheme"] for entry in report["schemes"]} == {"e1000", "virtio-qemu"}
    verdicts = {v["verdict"] for entry in report["schemes"] for v in entry["verdicts"]}
    assert verdicts == {"no difference shown"}


@pytest.mark.host
@pytest.mark.timeout(600)
def test_schemes_are_measured_without_a_notebook(capsys: Out, tmp_path: Path) -> None:
    words = ("measure", "e1000", "virtio-vhost", "--trials", "1", "-w", "tcp_up")
    assert answer([*words, "--out", str(tmp_path), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [scheme["scheme"] for scheme in report["schemes"]] == ["e1000", "virtio-vhost"]
    medians = {entry["metric"]: entry["median"] for entry in report["schemes"][1]["metrics"]}
    assert medians["tcp_up_mbps"] > 0
    ratios = {entry["metric"]: entry["ratio"] for entry in report["comparisons"]}
    assert ratios["vm_exits_per_packet"] < 0.5
    assert answer(["runs", "--in", str(tmp_path), "--json"]) == 0
    (stored,) = json.loads(capsys.readouterr().out)
    assert (stored["folder"], stored["trials"]) == (report["folder"], 2)


@pytest.mark.host
def test_doctor_of_the_embedded_host(capsys: Out) -> None:
    assert answer(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["counts"]["problem"] == 0
    assert {"rule", "verdict", "read", "found", "fix"} <= report["findings"][0].keys()
    assert [entry["scheme"] for entry in report["schemes"]][:2] == ["e1000", "e1000e"]
