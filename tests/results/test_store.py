"""The results folder and the tidy table."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from kvmlab.clock import Clock
from kvmlab.errors import OutputError, UsageError
from kvmlab.results import load, save, tidy
from tests.results.builders import result


def test_loaded_results_equal_the_saved_ones(tmp_path: Path) -> None:
    both = (result(), result("e1000e", clock=Clock.VIRTUAL))
    assert load(save(both, tmp_path / "run")) == both


def test_raw_output_is_stored_unchanged(tmp_path: Path) -> None:
    folder = save([result()], tmp_path)
    assert (folder / "raw/00-virtio-qemu/path-trace.txt").read_bytes() == b"a\r\nb\n"
    assert json.loads((folder / "results.json").read_text())["results"][0]["clock"] == "wall"


def test_the_table_is_the_same_as_csv_and_as_parquet(tmp_path: Path) -> None:
    folder = save([result()], tmp_path)
    table = tidy([result()])
    pd.testing.assert_frame_equal(pd.read_parquet(folder / "tidy.parquet"), table)
    csv = pd.read_csv(folder / "tidy.csv", keep_default_na=False)
    pd.testing.assert_frame_equal(csv, table)


def test_the_table_has_a_row_for_each_trial_and_metric() -> None:
    table = tidy([result()])
    speeds = table[table.metric == "tcp_up_mbps"]
    assert list(speeds.value) == [100, 110, 90]
    assert list(speeds.trial) == [1, 2, 3]
    assert set(speeds.kind) == {"metric"}
    assert set(table[table.kind == "part"].part) == {"npf", "hlt", "vhost worker"}
    assert "steal" in speeds["flags"].iloc[1]


def test_no_results_make_an_empty_table() -> None:
    assert list(tidy([]).columns)[:3] == ["host", "clock", "emulated"]


def test_results_are_not_overwritten(tmp_path: Path) -> None:
    save([result()], tmp_path)
    with pytest.raises(UsageError, match="holds results already"):
        save([result()], tmp_path)


def test_an_unwritable_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        save([result()], tmp_path / "file" / "below")


def test_a_missing_folder_has_no_results(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no results"):
        load(tmp_path)


@pytest.mark.parametrize("text", ["", "{}", '{"format": 99, "results": []}', "[1]"])
def test_a_damaged_folder_is_an_output_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(OutputError):
        load(tmp_path)


def test_a_missing_raw_file_is_an_output_error(tmp_path: Path) -> None:
    folder = save([result()], tmp_path)
    (folder / "raw/00-virtio-qemu/path-trace.txt").unlink()
    with pytest.raises(OutputError):
        load(folder)
