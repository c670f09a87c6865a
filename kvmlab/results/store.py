"""Results folder: one JSON of everything, the tidy table twice, and the raw tool output."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path as FilePath
from typing import Any

from kvmlab.directories import write_atomically
from kvmlab.errors import KvmlabError, OutputError, UsageError, reason_of
from kvmlab.results.model import Raw, Result
from kvmlab.results.tidy_table import tidy
from kvmlab.serialization import from_json, to_json
from kvmlab.stored_files import (
    SEALED_FORMAT,
    checked_name,
    is_present,
    parse_sealed,
    read_file,
    sealed,
    text_checksum,
)

RESULTS, CSV, PARQUET, RAW = "results.json", "tidy.csv", "tidy.parquet", "raw"


def save(results: Sequence[Result], folder: FilePath) -> FilePath:
    """Write results into ``folder``, which is created if needed, and return it.

    ``results.json`` is written last, in one step, and everything is on the disk on return: a
    folder that has it is complete.

    Raises:
        UsageError: the folder holds results already, or cannot be written.
    """
    if is_present(folder, RESULTS):
        raise UsageError(
            f"The folder {folder} holds results already.", todo="Choose another folder."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for number, result in enumerate(results):
            write_raw(folder / RAW / raw_folder(number, result.scheme), result.raw)
        table = tidy(results)
        write_atomically(folder / CSV, table.to_csv(index=False))
        table.to_parquet(folder / f"{PARQUET}.part", engine="pyarrow", index=False)
        (folder / f"{PARQUET}.part").replace(folder / PARQUET)
        document = {
            "format": SEALED_FORMAT,
            "results": [result_to_json(result) for result in results],
        }
        text = json.dumps(sealed(document), indent=1, ensure_ascii=False, allow_nan=False)
        write_atomically(folder / RESULTS, text, durable=True)
    except OSError as error:
        raise UsageError(
            f"Results cannot be written to {folder}: {reason_of(error)}.",
            todo="Free some space or choose a folder that you may write to.",
        ) from error
    return folder


def load(folder: FilePath) -> tuple[Result, ...]:
    """Return the results in a folder, equal to those that were saved.

    Raises:
        UsageError: there is no results folder.
        OutputError: it is damaged or of another format.
    """
    try:
        text = read_file(folder, RESULTS)
    except OSError as error:
        raise UsageError(
            f"There are no results in {folder}: {reason_of(error)}.",
            todo=f"Name a folder that holds {RESULTS}.",
        ) from error
    except ValueError as error:
        raise _damaged(folder, error) from error
    try:
        return tuple(
            result_from_json(item, folder, number)
            for number, item in enumerate(parse_sealed(text)["results"])
        )
    except DAMAGE as error:
        raise _damaged(folder, error, text) from error


#: What a damaged document raises where it is read.
DAMAGE = (
    ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError, OSError,
    KvmlabError,
)  # fmt: skip


def _damaged(folder: FilePath, error: Exception, text: str = "") -> OutputError:
    return OutputError(f"The results in {folder} are damaged: {error}.", evidence=text[:400])


def result_to_json(result: Result) -> dict[str, Any]:
    """Return a result as plain JSON values; of its raw output names and checksums."""
    document: dict[str, Any] = to_json(replace(result, raw=()))
    return {**document, "raw": raw_to_json(result.raw)}


def raw_to_json(raw: Sequence[Raw]) -> list[dict[str, str]]:
    """Return name and checksum of each output."""
    return [{"name": item.name, "sha256": text_checksum(item.text)} for item in raw]


def result_from_json(document: Mapping[str, Any], folder: FilePath, number: int) -> Result:
    """Return result ``number`` of the run in ``folder``; its raw output is read from there.

    Raises:
        ValueError, KeyError, TypeError, AttributeError, OSError, KvmlabError: the document or a
            file is damaged.
    """
    result = from_json({**document, "raw": ()}, Result)
    missing = result.meta.get("missing_costs", {})
    if not isinstance(missing, dict) or not all(isinstance(v, str) for v in missing.values()):
        raise ValueError("`missing_costs` is no table of reasons")
    place = raw_folder(number, result.scheme)
    return replace(result, raw=tuple(_raw(folder, place, item) for item in document["raw"]))


def _raw(folder: FilePath, place: str, item: str | Mapping[str, str]) -> Raw:
    if isinstance(item, str):  # before checksums
        return Raw(item, read_file(folder, RAW, place, item))
    name, text = item["name"], read_file(folder, RAW, place, item["name"])
    if text_checksum(text) != item["sha256"]:
        raise ValueError(f"the checksum of {name} is wrong")
    return Raw(name, text)


def raw_folder(number: int, scheme: str) -> str:
    """Return the name of a result's folder inside ``raw``; ``number`` is its place.

    Raises:
        ValueError: ``scheme`` is no part of a file name.
    """
    return checked_name(f"{number:02d}-{scheme}")


def write_raw(folder: FilePath, raw: Sequence[Raw]) -> None:
    """Write each output under its name; it is on the disk on return.

    Raises:
        ValueError: a name leaves the folder.
    """
    if raw:
        folder.mkdir(parents=True, exist_ok=True)
    for item in raw:
        write_atomically(folder / checked_name(item.name), item.text, durable=True)
