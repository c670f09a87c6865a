"""A results folder: one JSON of everything, the tidy table twice, the raw tool output beside it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path as FilePath

from kvmlab.errors import OutputError, UsageError
from kvmlab.results.model import Raw, Result
from kvmlab.results.plain import from_json, to_json
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
            write_raw(folder / RAW / raw_folder(number, result.scheme), result.raw)
        table = tidy(results)
        write(folder / CSV, table.to_csv(index=False).encode())
        table.to_parquet(folder / f"{PARQUET}.part", engine="pyarrow", index=False)
        (folder / f"{PARQUET}.part").replace(folder / PARQUET)
        document = {"format": FORMAT, "results": [to_json(result) for result in results]}
        text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
        write(folder / RESULTS, text.encode())
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
            from_json(item, folder / RAW / raw_folder(number, item["scheme"]))
            for number, item in enumerate(document["results"])
        )
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise OutputError(
            f"The results in {folder} are damaged: {error!r}.", evidence=text[:400]
        ) from error


def raw_folder(number: int, scheme: str) -> str:
    """Where the raw output of the result at that place lies, inside ``raw``."""
    return f"{number:02d}-{scheme}"


def write_raw(folder: FilePath, raw: Sequence[Raw]) -> None:
    """Write what tools printed, each under its name."""
    if raw:
        folder.mkdir(parents=True, exist_ok=True)
    for item in raw:
        write(folder / item.name, item.text.encode())


def write(path: FilePath, data: bytes) -> None:
    """Write a file in one step: it is there as a whole or not at all."""
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(data)
    part.replace(path)
