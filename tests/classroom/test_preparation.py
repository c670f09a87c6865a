"""The check before a course: a bundle against its hashes, and machines that ssh reaches."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from kvmlab.bundle_archive import pack
from kvmlab.classroom import check_remote_seat, check_seat
from kvmlab.classroom.preparation import Readiness
from kvmlab.cli import answer
from tests.hosts.conftest import Server, free_port, runtime, server

__all__ = ["runtime", "server"]


@pytest.fixture
def bundle(tmp_path: Path, repository: Path) -> Path:
    """Return a bundle of one wheel for this Python and this revision's packages."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    (wheels / "one.whl").write_bytes(os.urandom(5000))
    lock = hashlib.sha256((repository / "requirements.lock").read_bytes()).hexdigest()
    about = {
        "python": ".".join(platform.python_version_tuple()[:2]),
        "machine": platform.machine(),
        "lock": lock,
    }
    pack(tmp_path / "b.kvmlab", {"wheels": wheels}, about)
    return tmp_path / "b.kvmlab"


def bundle_line(path: Path) -> Readiness:
    (line,) = (line for line in check_seat(bundle=path) if line.name == "bundle")
    return line


def test_a_bundle_is_compared_with_its_hashes(bundle: Path) -> None:
    assert bundle_line(bundle).ready
    assert "1 files, each with its hash" in bundle_line(bundle).there
    data = bytearray(bundle.read_bytes())
    data[-2000] ^= 1  # in the wheel, whose bytes gzip stores as they are
    bundle.write_bytes(data)
    assert not bundle_line(bundle).ready


def test_a_bundle_of_another_revision_is_named(tmp_path: Path, bundle: Path) -> None:
    (tmp_path / "more").mkdir()
    pack(bundle, {"wheels": tmp_path / "more"}, {"python": "3.1", "machine": "x", "lock": "0"})
    assert "made by another revision of kvmlab" in bundle_line(bundle).there


@pytest.fixture
def command(tmp_path: Path, repository: Path) -> str:
    """Return the path of a `lab` that another machine has."""
    path = tmp_path / "lab"
    path.write_text(f'#!/bin/sh\nPYTHONPATH={repository} exec {sys.executable} -m kvmlab "$@"\n')
    path.chmod(0o755)
    return str(path)


@pytest.mark.usefixtures("runtime")
def test_another_machine_answers_by_its_own_kvmlab(server: Server, command: str) -> None:
    lines = check_remote_seat(server.target, [command], seats=100_000)
    by_name = {line.name: line for line in lines}
    assert {"disk", "memory", "cores", "image of the embedded host"} <= set(by_name)
    assert {line.machine for line in lines} == {server.target.shown}
    assert not by_name["memory"].ready
    assert "share a seat" in by_name["memory"].todo


@pytest.mark.usefixtures("runtime")
def test_a_machine_that_cannot_be_asked_is_a_line(server: Server) -> None:
    (silent,) = check_remote_seat(replace(server.target, port=free_port()), ["lab"])
    assert (silent.name, silent.ready) == ("ssh", False)
    assert "nothing listens" in silent.there
    (missing,) = check_remote_seat(server.target, ["/nowhere/lab"])
    assert (missing.name, missing.ready) == ("kvmlab", False)
    assert "/nowhere/lab" in missing.there
    (other,) = check_remote_seat(server.target, ["echo"])
    assert (other.name, other.ready) == ("kvmlab", False)


def test_the_command_prints_both_languages_and_ends_with_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["class", "check", "--seats", "100000", "--bundle", str(tmp_path / "none")]
    assert answer(words) == 1
    printed = capsys.readouterr().out
    assert "disk: Free some space there" in printed
    assert answer([*words, "--language", "zh"]) == 1
    chinese = capsys.readouterr().out
    assert "请在那里腾出空间" in chinese
    assert "Free" not in chinese
    assert answer([*words, "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert {"name", "there", "needed", "ready", "todo", "machine"} == set(document["checks"][0])
    assert answer(["class", "check", "--on", "-oProxyCommand=x"]) == 2
