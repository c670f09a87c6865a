"""A host that answers one command of a change with nonsense."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any

from kvmlab.changes import Plan
from kvmlab.errors import CommandFailed
from kvmlab.hosts import Runner
from kvmlab.process import Completed
from tests.facts.mutations import mutated
from tests.faults.kill_points import FaultCase
from tests.faults.scene import Scene
from tests.faults.timeouts import Altered, each_command_altered


class Replies:
    """Counts the commands of a runner; the reply to the one of number ``due`` is mutated."""

    def __init__(self, run: Callable[..., Completed], due: int, chance: random.Random) -> None:
        self._run = run
        self._due = due
        self._chance = chance
        self.count = 0
        self.hit = ""

    def run(self, argv: Any, *, check: bool = True, **options: Any) -> Completed:
        """Run ``argv`` there, as `Runner.run` does, and alter what it has printed or its code."""
        number, self.count = self.count, self.count + 1
        if number != self._due:
            return self._run(argv, check=check, **options)
        self.hit = " ".join(argv)[:80]
        done = self._run(argv, check=False, **options)
        if self._chance.random() < 0.2:
            done = replace(done, returncode=self._chance.choice((0, 1, 127, 255, -9)))
        done = replace(done, stdout=mutated(done.stdout, self._chance))
        if check and done.returncode != 0:
            raise CommandFailed(done)
        return done


@contextmanager
def hostile(runner: Runner, due: int, chance: random.Random) -> Iterator[Replies]:
    """Let the reply to command ``due`` of this runner be nonsense, for the length of the block."""
    replies = Replies(runner.run, due, chance)
    runner.run = replies.run  # type: ignore[method-assign]
    try:
        yield replies
    finally:
        del runner.run


def every_hostile_reply(
    scene: Scene, plan: Plan, tell: Callable[[FaultCase], None], *, start: int = 0
) -> None:
    """Give each command of the plan a hostile reply once, from number ``start`` on."""

    def alter(number: int) -> AbstractContextManager[Altered]:
        return hostile(scene.host.runner, number, random.Random(number))

    each_command_altered(scene, plan, "hostile reply to", alter, tell, start=start)
