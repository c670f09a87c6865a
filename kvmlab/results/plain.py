"""Results as plain JSON values, and back."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path as FilePath
from typing import Any

from kvmlab.clock import Clock
from kvmlab.results.model import Condition, Cost, Metric, Raw, Result, Share, Trial, Window
from kvmlab.results.path import Hop, Path


def to_json(result: Result) -> dict[str, Any]:
    """A result as plain JSON values; of its raw output the names."""
    document = asdict(result)
    document["clock"] = result.clock.value
    document["raw"] = [item.name for item in result.raw]
    return document


def from_json(item: dict[str, Any], raw_folder: FilePath) -> Result:
    """The result that :func:`to_json` wrote; its raw output is read from ``raw_folder``.

    Raises:
        KeyError, TypeError, ValueError, OSError: it is damaged.
    """
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
            "conditions": tuple(Condition(**one) for one in item.get("conditions", ())),
            "shares": tuple(Share(**one) for one in item.get("shares", ())),
        }
    )


def _path(item: dict[str, Any]) -> Path:
    hops = tuple(Hop(**hop) for hop in item["hops"])
    return Path(**{**item, "hops": hops, "notes": tuple(item["notes"])})
