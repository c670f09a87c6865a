"""A change: a plan that was applied and can be reverted."""

from __future__ import annotations

from kvmlab.changes.nic import Nic
from kvmlab.changes.plan import Plan


class Change:
    """A plan applied. Its ``nic`` is configured and answered; `revert` puts everything back."""

    plan: Plan
    nic: Nic

    def revert(self) -> None:
        """Undo every step, last first. A second call does nothing.

        Raises:
            RevertFailed: something could not be put back; the message names it and says what to
                do by hand. Everything that could be undone has been.
        """
        raise NotImplementedError
