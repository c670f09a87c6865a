"""What the doctor says: one finding for each rule, and all of them together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from kvmlab.errors import EXIT_OK, EXIT_SKIPPED, UsageError
from kvmlab.facts.rule_book import BOOK
from kvmlab.facts.rules import Rule


class Verdict(StrEnum):
    """How a rule stands on a host."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"
    NOT_APPLICABLE = "not applicable"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Finding:
    """One rule: what was read, the verdict with its reason, and the fix where there is one."""

    rule: Rule
    verdict: Verdict
    read: str
    found: str
    fix: str = ""
    #: What the finding is about: PCI addresses, interfaces, VMs.
    subjects: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """What ought to be so."""
        return BOOK[self.rule].title

    @property
    def cause(self) -> str:
        """Why it matters."""
        return BOOK[self.rule].cause

    def to_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return {
            "rule": str(self.rule),
            "title": self.title,
            "verdict": str(self.verdict),
            "read": self.read,
            "found": self.found,
            "cause": self.cause,
            "fix": self.fix,
            "subjects": list(self.subjects),
        }


def ok(rule: Rule, read: str, found: str, subjects: Iterable[str] = ()) -> Finding:
    """It is as it should be."""
    return Finding(rule, Verdict.OK, read, found, subjects=tuple(subjects))


def warning(
    rule: Rule, read: str, found: str, *, fix: str = "", subjects: Iterable[str] = ()
) -> Finding:
    """It works, and will bite somebody; the book's fix where none is given."""
    return Finding(rule, Verdict.WARNING, read, found, fix or BOOK[rule].fix, tuple(subjects))


def problem(
    rule: Rule, read: str, found: str, *, fix: str = "", subjects: Iterable[str] = ()
) -> Finding:
    """Something does not work; the book's fix where none is given."""
    return Finding(rule, Verdict.PROBLEM, read, found, fix or BOOK[rule].fix, tuple(subjects))


def not_applicable(rule: Rule, read: str, found: str) -> Finding:
    """There is nothing here that the rule is about."""
    return Finding(rule, Verdict.NOT_APPLICABLE, read, found)


def unknown(rule: Rule, read: str, found: str, *, fix: str = "") -> Finding:
    """It could not be read; ``found`` says why."""
    return Finding(rule, Verdict.UNKNOWN, read, found, fix)


@dataclass(frozen=True)
class SchemeFinding:
    """Whether one scheme can be applied, in the words of the scheme itself."""

    scheme: str
    label: str
    possible: bool
    rule: str = ""
    found: str = ""
    fix: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return {
            "scheme": self.scheme,
            "label": self.label,
            "possible": self.possible,
            "rule": self.rule,
            "found": self.found,
            "fix": self.fix,
        }


@dataclass(frozen=True)
class Diagnosis:
    """Every rule on one host."""

    label: str
    emulated: str | None
    findings: tuple[Finding, ...]
    schemes: tuple[SchemeFinding, ...] = ()

    def finding(self, rule: Rule | str) -> Finding:
        """The finding of that rule.

        Raises:
            UsageError: the doctor has no such rule.
        """
        for found in self.findings:
            if found.rule == rule:
                return found
        raise UsageError(
            f"The doctor has no rule {str(rule)!r}.",
            todo=f"It has: {', '.join(found.rule for found in self.findings)}.",
        )

    def of(self, verdict: Verdict) -> tuple[Finding, ...]:
        """The findings with that verdict."""
        return tuple(found for found in self.findings if found.verdict is verdict)

    @property
    def problems(self) -> tuple[Finding, ...]:
        """What does not work."""
        return self.of(Verdict.PROBLEM)

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """What works and will bite somebody."""
        return self.of(Verdict.WARNING)

    @property
    def exit_code(self) -> int:
        """3 where there is a problem (the host cannot do something), else 0."""
        return EXIT_SKIPPED if self.problems else EXIT_OK

    @property
    def summary(self) -> str:
        """All verdicts, counted."""
        told = [f"{len(self.of(verdict))} {verdict}" for verdict in Verdict if self.of(verdict)]
        return ", ".join(told)

    def to_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return {
            "host": self.label,
            "emulated": self.emulated,
            "exit_code": self.exit_code,
            "counts": {str(verdict): len(self.of(verdict)) for verdict in Verdict},
            "findings": [found.to_dict() for found in self.findings],
            "schemes": [found.to_dict() for found in self.schemes],
        }

    def __str__(self) -> str:
        """For a terminal, without colours."""
        from kvmlab.doctor.display import as_text

        return as_text(self)

    def _repr_html_(self) -> str:
        """For a notebook."""
        from kvmlab.doctor.display import as_html

        return as_html(self)
