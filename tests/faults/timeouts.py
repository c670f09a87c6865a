"""Timeouts at every command of a change: before or after its effect, or going on unheard."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final, Literal, Protocol

from kvmlab.changes import Plan, leftovers, restore
from kvmlab.errors import CommandTimeout, KvmlabError
from kvmlab.hosts import Host, Runner
from kvmlab.process import Completed
from tests.faults.kill_points import FaultCase, after
from tests.faults.scene import Scene

#: Killed by its deadline before it did anything; after it; not known to have ended.
Way = Literal["before", "after", "unheard"]
WAYS: Final[tuple[Way, ...]] = ("before", "after", "unheard")
#: Seconds after which a command that nobody hears any more has its effect.
_LATE_SEC: Final = "2"


class Commands:
    """Counts the commands of a runner; the one of number ``due`` runs into its deadline."""

    def __init__(self, run: Callable[..., Completed], due: int, way: Way) -> None:
        self._run = run
        self._due = due
        self._way = way
        self.count = 0
        self.hit = ""

    def run(self, argv: Any, **options: Any) -> Completed:
        """Run ``argv`` there, as `Runner.run` does."""
        # Only what needs root changes anything.
        number = self.count if options.get("root") else None
        self.count += number is not None
        if number is None or number != self._due:
            return self._run(argv, **options)
        self.hit = " ".join(argv)[:80]
        if self._way == "after":
            self._run(argv, **{**options, "check": False})
        elif self._way == "unheard":
            text = options.get("input_text") or ""
            script = f'sleep {_LATE_SEC}; printf %s "$0" | "$@"'
            words = ("setsid", "sh", "-c", f"({script}) >/dev/null 2>&1 &", text, *argv)
            self._run(words, **{**options, "input_text": None, "check": False})
        raise CommandTimeout(f"`{self.hit}` did not end.", may_still_run=self._way == "unheard")


@contextmanager
def timed_out(runner: Runner, due: int, way: Way) -> Iterator[Commands]:
    """Let command ``due`` of this runner run into its deadline, for the length of the block."""
    commands = Commands(runner.run, due, way)
    runner.run = commands.run  # type: ignore[method-assign]
    try:
        yield commands
    finally:
        del runner.run


def settle(host: Host, *, attempts: int = 4) -> tuple[str, ...]:
    """Restore until nothing is left; return what is left all the same."""
    for _ in range(attempts):
        try:
            restore(host)
        except KvmlabError:
            continue
        if not leftovers(host):
            break
    return tuple(left.what for left in leftovers(host))


class Altered(Protocol):
    """Commands of which one is altered: ``hit`` is its text, empty as long as it was not run."""

    hit: str


def each_command_altered(
    scene: Scene,
    plan: Plan,
    kind: str,
    alter: Callable[[int], AbstractContextManager[Altered]],
    tell: Callable[[FaultCase], None],
    *,
    start: int = 0,
) -> None:
    """Apply and revert the plan once for each of its commands, each time with that one altered.

    ``alter`` alters the command of a number for the length of a block, ``kind`` names what it
    does, and ``start`` is the number of the first one. It ends after a case that lost something.

    Raises:
        AssertionError: something else than an error of kvmlab's own came of it.
    """
    for number in itertools.count(start):
        message = ""
        with alter(number) as commands:
            try:
                with plan.applied(scene.vm):
                    pass
            except KvmlabError as error:
                message = str(error)
            except Exception as error:
                raise AssertionError(f"{kind} {number}, {commands.hit}: {error!r}") from error
        if not commands.hit:
            return
        left = settle(scene.host)
        name = f"{kind} command {number}: {commands.hit}"
        case = after(plan.scheme, name, scene.host, scene.vm, scene.before)
        if left:
            case = FaultCase(name, plan.scheme, "not at all", message, left)
        tell(case)
        if case.lost:
            return


def every_timeout(
    scene: Scene, plan: Plan, way: Way, tell: Callable[[FaultCase], None], *, start: int = 0
) -> None:
    """Let each command of the plan run into its deadline once, from number ``start`` on."""

    def alter(number: int) -> AbstractContextManager[Altered]:
        return timed_out(scene.host.runner, number, way)

    each_command_altered(scene, plan, f"timeout {way}", alter, tell, start=start)
