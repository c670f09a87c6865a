"""A results folder: one JSON of everything, the tidy table twice, the raw tool output beside it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path as FilePath
from typing import Any

from kvmlab.clock import Clock
from kvmlab.errors import OutputError, UsageError
from kvmlab.results.model import Cost, Metric, Raw, Result, Trial, Window
from kvmlab.results.path import Hop, Path
from kvmlab.results.table import tidy

FORMAT = 1
RESULTS, CSV, PARQUET, RAW = "results.json", "tidy.csv", "tidy.parquet", "raw"


def save(results: Sequence[Result], folder: FilePath) -> FilePath:
    """Write results into ``folder`` (made if needed) and return it.

    ``results.json`` is written last, and in one step: a folder that has it is complete.

    Raises:
        UsageError: the folder holds results already, or cannot be written.
    """
    if (folder / RESULTS).exists():
        raise UsageError(
            f"The folder {folder} holds results already.", todo="Choose another folder."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for number, result in enumerate(results):
            _write_raw(folder / RAW / _raw_folder(number, result), result.raw)
        table = tidy(results)
        _write(folder / CSV, table.to_csv(index=False).encode())
        table.to_parquet(folder / f"{PARQUET}.part", engine="pyarrow", index=False)
        (folder / f"{PARQUET}.part").replace(folder / PARQUET)
        document = {"format": FORMAT, "results": [_to_json(result) for result in results]}
        text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
        _write(folder / RESULTS, text.encode())
    except OSError as error:
        raise UsageError(
            f"Results cannot be written to {folder}: {error.strerror or error}.",
            todo="Free some space or choose a folder that you may write to.",
        ) from error
    return folder


def load(folder: FilePath) -> tuple[Result, ...]:
    """Read a results folder back; the objects equal those that were saved.

    Raises:
        UsageError: there is no results folder.
        OutputError: it is damaged or of another format.
    """
    try:
        text = (folder / RESULTS).read_text()
    except OSError as error:
        raise UsageError(
            f"There are no results in {folder}: {error.strerror or error}.",
            todo=f"Name a folder that holds {RESULTS}.",
        ) from error
    try:
        document = json.loads(text)
        if document["format"] != FORMAT:
            raise OutputError(
                f"The results in {folder} are of format {document['format']}; this kvmlab reads "
                f"format {FORMAT}."
            )
        return tuple(
            _from_json(item, folder / RAW / f"{number:02d}-{item['scheme']}")
            for number, item in enumerate(document["results"])
        )
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise OutputError(
            f"The results in {folder} are damaged: {error!r}.", evidence=text[:400]
        ) from error


def _raw_folder(number: int, result: Result) -> str:
    return f"{number:02d}-{result.scheme}"


def _write_raw(folder: FilePath, raw: Sequence[Raw]) -> None:
    if raw:
        folder.mkdir(parents=True, exist_ok=True)
    for item in raw:
        _write(folder / item.name, item.text.encode())


def _write(path: FilePath, data: bytes) -> None:
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(data)
    part.replace(path)


def _to_json(result: Result) -> dict[str, Any]:
    document = asdict(result)
    document["clock"] = result.clock.value
    document["raw"] = [item.name for item in result.raw]
    return document


def _from_json(item: dict[str, Any], raw_folder: FilePath) -> Result:
    return Result(
        **{
            **item,
            "clock": Clock(item["clock"]),
            "trials": tuple(_trial(trial) for trial in item["trials"]),
            "path": _path(item["path"]) if item["path"] else None,
            "raw": tuple(
                Raw(name, (raw_folder / name).read_bytes().decode()) for name in item["raw"]
            ),
        }
    )


def _trial(item: dict[str, Any]) -> Trial:
    return Trial(
        **{
            **item,
            "metrics": tuple(Metric(**metric) for metric in item["metrics"]),
            "costs": tuple(Cost(**cost) for cost in item["costs"]),
            "window": Window(**item["window"]),
            "flags": tuple(item["flags"]),
        }
    )


def _path(item: dict[str, Any]) -> Path:
    hops = tuple(Hop(**hop) for hop in item["hops"])
    return Path(**{**item, "hops": hops, "notes": tuple(item["notes"])})
