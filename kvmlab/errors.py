"""Every error that kvmlab raises on purpose.

The tree::

    KvmlabError
    ├── UsageError              a parameter, name, URI or file that cannot be used        exit 2
    ├── Unavailable             this host cannot do that; carries a doctor rule id        exit 3
    ├── HostError               a host cannot be reached or does not answer
    │   ├── HostUnreachable
    │   ├── HostRefused         authentication, permission
    │   ├── HostBusy            somebody else holds the host's lock
    │   ├── CommandFailed       carries the finished process
    │   ├── CommandTimeout      carries what was printed until then
    │   └── LibvirtFailed       carries libvirt's own code and text
    ├── OutputError             a tool printed something that its parser does not know
    ├── EmbeddedError           the embedded host
    │   ├── ImageBuildFailed
    │   ├── QemuUnfit
    │   ├── MachineDied         carries the last console lines
    │   ├── MachineTimeout      carries the last console lines
    │   └── StateUnfit          a saved state does not fit this machine
    ├── DomainError             the test VM
    │   ├── DomainNotFound
    │   ├── AgentTimeout
    │   ├── GuestCommandFailed
    │   └── HotplugFailed
    ├── ChangeError
    │   ├── Refused             the guard would not let a change be made
    │   ├── StepFailed          a step failed; what was done before it is undone
    │   ├── OutcomeUnknown      a command of a step may still take effect; its journal stays
    │   └── RevertFailed        something could not be put back                           exit 4
    ├── MeasureError            a trial or meter failed, or a counter cannot be trusted
    └── RunFailed               a notebook of a run failed

Messages are whole sentences: what was found, what was needed, what to do next.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from kvmlab.language import translate

if TYPE_CHECKING:
    from kvmlab.process import Completed

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_SKIPPED = 3
EXIT_REVERT_FAILED = 4


class KvmlabError(Exception):
    """Root of the tree.

    ``message`` says what was found and what was needed; ``todo`` says what to do next;
    ``evidence`` is raw text (console lines, tool output) that a reader may want to see.
    """

    exit_code = EXIT_FAILED

    def __init__(self, message: str, *, todo: str = "", evidence: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.todo = todo
        self.evidence = evidence

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by attributes: constructors of subclasses differ."""
        return _unpickle, (type(self), self.args, self.__dict__)

    def __str__(self) -> str:
        """Return the message, what to do, and the evidence, in the reader's language."""
        return self._text(translate(self.message), translate(self.todo))

    @property
    def english(self) -> str:
        """The same in English, for records."""
        return self._text(self.message, self.todo)

    def _text(self, message: str, todo: str) -> str:
        parts = [message]
        if todo:
            parts.append(todo)
        if self.evidence:
            parts.append("\n".join(f"  | {line}" for line in self.evidence.rstrip().splitlines()))
        return "\n".join(parts)


def _unpickle(
    kind: type[KvmlabError], args: tuple[Any, ...], attributes: dict[str, Any]
) -> KvmlabError:
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(attributes)
    return error


class UsageError(KvmlabError):
    """A parameter, name, URI or file given by the user cannot be used."""

    exit_code = EXIT_USAGE


class Unavailable(KvmlabError):
    """This host cannot do what was asked; ``rule`` is the id of the doctor's rule that says why."""

    exit_code = EXIT_SKIPPED

    def __init__(self, message: str, *, rule: str = "", todo: str = "", evidence: str = "") -> None:
        super().__init__(message, todo=todo, evidence=evidence)
        self.rule = rule


class HostError(KvmlabError):
    """A host cannot be reached, or does not answer as a host does."""


class HostUnreachable(HostError):
    """No answer from the host."""


class HostRefused(HostError):
    """The host answered and said no: authentication or permission."""


class HostBusy(HostError):
    """Somebody else holds the lock of this host."""


class CommandFailed(HostError):
    """A command ended with a code other than zero; ``completed`` holds all of it."""

    def __init__(self, completed: Completed, message: str = "", *, todo: str = "") -> None:
        text = message or (
            f"`{completed.command}` on {completed.host} ended with "
            f"exit code {completed.returncode}."
        )
        super().__init__(text, todo=todo, evidence=(completed.stderr or completed.stdout)[-4000:])
        self.completed = completed


class CommandTimeout(HostError):
    """A command did not end within its deadline and was killed.

    ``may_still_run`` says that nobody knows whether it has ended, so its effect may come later.
    """

    def __init__(
        self, message: str, *, todo: str = "", evidence: str = "", may_still_run: bool = True
    ) -> None:
        super().__init__(message, todo=todo, evidence=evidence)
        self.may_still_run = may_still_run


class LibvirtFailed(HostError):
    """libvirt refused a call; ``code`` is libvirt's own error number."""

    def __init__(self, message: str, *, code: int = -1, todo: str = "", evidence: str = "") -> None:
        super().__init__(message, todo=todo, evidence=evidence)
        self.code = code


class OutputError(KvmlabError):
    """A tool printed something that its parser does not know; the evidence is what it printed."""


class EmbeddedError(KvmlabError):
    """The embedded host cannot be built, started or saved."""


class ImageBuildFailed(EmbeddedError):
    """The image of the embedded host could not be built; nothing unfinished was left behind."""


class QemuUnfit(EmbeddedError):
    """No QEMU on this machine or in the image can run the embedded host."""


class MachineDied(EmbeddedError):
    """The embedded host's QEMU ended; the evidence is its last console lines."""


class MachineTimeout(EmbeddedError):
    """The embedded host did not get ready in time; the evidence is its last console lines."""


class StateUnfit(EmbeddedError):
    """A saved state does not fit this machine; a cold boot does."""


class DomainError(KvmlabError):
    """The test VM is not there or does not do what was asked."""


class DomainNotFound(DomainError):
    """No domain of that name on the host."""


class AgentTimeout(DomainError):
    """The guest agent did not answer in time."""


class GuestCommandFailed(DomainError):
    """A command inside the guest ended with a code other than zero."""

    def __init__(self, completed: Completed, *, todo: str = "") -> None:
        super().__init__(
            f"`{completed.command}` inside {completed.host} ended with exit code "
            f"{completed.returncode}.",
            todo=todo,
            evidence=(completed.stderr or completed.stdout)[-4000:],
        )
        self.completed = completed


class HotplugFailed(DomainError):
    """An interface was not attached or not detached in time."""


class ChangeError(KvmlabError):
    """A change to a host could not be made or undone."""


class Refused(ChangeError):
    """The guard would not let a change be made; ``rule`` is the id of its reason."""

    def __init__(self, message: str, *, rule: str = "", todo: str = "", evidence: str = "") -> None:
        super().__init__(message, todo=todo, evidence=evidence)
        self.rule = rule


class StepFailed(ChangeError):
    """A step failed; the steps before it have been undone."""


class OutcomeUnknown(ChangeError):
    """A command of a step may still run on the host, so its setting cannot be trusted yet."""


class RevertFailed(ChangeError):
    """Something could not be put back; the message names it and says what to do by hand."""

    exit_code = EXIT_REVERT_FAILED


class MeasureError(KvmlabError):
    """A trial or a meter failed, or a counter cannot be trusted."""


class RunFailed(KvmlabError):
    """A notebook of a run failed; the evidence is the failing cell and its error."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the question, to follow a message, whether the nearest known name was meant.

    >>> did_you_mean("virtoi", ["e1000", "virtio"]), did_you_mean("9", ["virtio"])
    (' Did you mean virtio?', '')
    """
    near = get_close_matches(name, list(known), n=1)
    return f" Did you mean {near[0]}?" if near else ""


def reason_of(error: Exception) -> str:
    """Return why a file cannot be used, without the number and the path that an OSError adds.

    >>> reason_of(FileNotFoundError(2, "No such file or directory", "hosts.yaml"))
    'No such file or directory'
    >>> reason_of(ValueError("it is empty"))
    'it is empty'
    """
    return (isinstance(error, OSError) and error.strerror) or str(error)
