"""Polling of a condition until a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from kvmlab.errors import KvmlabError

T = TypeVar("T")


def until(
    condition: Callable[[], T | None],
    *,
    timeout_sec: float,
    what: str,
    every_sec: float = 0.1,
    slowing: float = 1.0,
    quiet_sec: float = 0.0,
    error: type[KvmlabError] = KvmlabError,
    evidence: Callable[[], str] | None = None,
    todo: str = "",
) -> T:
    """Call ``condition`` every ``every_sec`` seconds until it returns something true; return that.

    ``what`` completes the sentence "… did not happen within N s". ``evidence`` is asked once,
    after the deadline. Where asking has a price, ``quiet_sec`` puts the first time off and
    ``slowing`` makes each pause longer than the one before, up to ten times ``every_sec``.

    Raises:
        error: the deadline passed.
    """
    deadline = time.monotonic() + timeout_sec
    pause = every_sec
    time.sleep(min(quiet_sec, timeout_sec))
    while True:
        answer = condition()
        if answer:
            return answer
        left = deadline - time.monotonic()
        if left <= 0:
            raise error(
                f"{what} did not happen within {timeout_sec:g} s.",
                todo=todo,
                evidence=evidence() if evidence else "",
            )
        time.sleep(min(pause, left))
        pause = min(pause * slowing, every_sec * 10)
