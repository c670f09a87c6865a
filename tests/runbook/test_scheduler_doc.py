"""The service of docs/real-host.md: systemd accepts the unit, kvmlab its commands."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from kvmlab.cli import answer

Out = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def units(repository: Path) -> dict[str, str]:
    """Return the files of the document, by name."""
    files: dict[str, str] = {}
    name = ""
    for line in (repository / "docs" / "real-host.md").read_text().splitlines():
        text = line.removeprefix("    ")
        if begin := re.match(r"# /etc/systemd/system/(\S+)$", text):
            name = begin[1]
            files[name] = ""
        elif name and (line.startswith("    ") or not line):
            files[name] += f"{text}\n"
        else:
            name = ""
    assert set(files) == {"kvmlab-nightly.service", "kvmlab-nightly.timer"}
    return files


def command(unit: str, key: str) -> list[str]:
    """Return the words of one command, its variables filled in."""
    whole = unit.replace("\\\n", " ")
    values = dict(re.findall(r"^Environment=(\w+)=(.*)$", whole, re.MULTILINE))
    line = next(text for text in whole.splitlines() if text.startswith(f"{key}="))
    words = shlex.split(line.partition("=")[2])
    return [re.sub(r"\$\{(\w+)\}", lambda match: values[match[1]], word) for word in words]


def test_its_commands_are_those_of_kvmlab(units: dict[str, str], capsys: Out) -> None:
    unit = units["kvmlab-nightly.service"]
    program, *words = command(unit, "ExecStart")
    assert Path(program).name == "lab"
    assert answer([*words, "--dry-run"]) == 0
    assert "CABLE" in capsys.readouterr().out
    program, *words = command(unit, "ExecStartPre")
    # The words are understood; there is no such host.
    assert answer(words) == 1
    assert "kvm1" in capsys.readouterr().err


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_takes_the_units(units: dict[str, str], tmp_path: Path) -> None:
    for name, text in units.items():
        # The program of another machine: here another one stands in for it.
        (tmp_path / name).write_text(text.replace("/srv/kvmlab/lab", "/bin/true"))
    done = subprocess.run(
        ("systemd-analyze", "verify", "--man=no", *(str(tmp_path / name) for name in units)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
