"""Tests of the judgement on a QEMU, by recorded answers of Debian 12's and Debian 13's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kvmlab.embedded.qemu import Qemu, find_qemu, parse_answers
from kvmlab.errors import OutputError, QemuUnfit


def recorded(data: Path, version: str) -> str:
    return (data / "embedded" / f"qmp-answers-{version}.txt").read_text(encoding="utf-8")


def test_debian_13_is_fit(data: Path) -> None:
    abilities = parse_answers(recorded(data, "10.0.13"))
    assert abilities.version == (10, 0, 13)
    assert abilities.package == "(Debian 1:10.0.13+ds-0+deb13u1)"
    assert abilities.unfit == ()


def test_debian_12_lacks_the_82576(data: Path) -> None:
    abilities = parse_answers(recorded(data, "7.2"))
    assert abilities.version == (7, 2, 22)
    assert "it lacks the device igb" in abilities.unfit


def test_a_version_with_dead_vfs_is_unfit_though_it_has_everything(data: Path) -> None:
    older = recorded(data, "10.0.13").replace('"micro": 13', '"micro": 2')
    (reason,) = parse_answers(older).unfit
    assert "virtual functions" in reason
    assert "10.0.13" in reason


def test_each_missing_answer_is_named(data: Path) -> None:
    lines = recorded(data, "10.0.13").splitlines()
    remaining = [line for line in lines if json.loads(line).get("id") != "a user network"]
    assert parse_answers("\n".join(remaining)).unfit == ("it lacks a user network (slirp)",)


@pytest.mark.parametrize("text", ["", "qemu: error", "[]", '{"QMP": {}}'])
def test_what_is_no_answer_is_an_output_error(text: str) -> None:
    with pytest.raises(OutputError):
        parse_answers(text)


def test_a_program_that_is_no_qemu_is_unfit(tmp_path: Path) -> None:
    with pytest.raises(QemuUnfit, match="did not answer"):
        find_qemu(None, Path("/bin/true"))
    with pytest.raises(QemuUnfit, match="no program"):
        find_qemu(None, tmp_path / "missing")


def test_nothing_at_all_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(QemuUnfit) as caught:
        find_qemu(None)
    assert "kvmlab host build" in caught.value.todo


def test_it_survives_json() -> None:
    qemu = Qemu(("/q",), (("A", "b"),), Path("/q"), (10, 0, 13), "10.0.13", "image", "abc")
    assert Qemu.from_dict(json.loads(json.dumps(qemu.to_dict()))) == qemu
