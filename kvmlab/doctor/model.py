"""Findings, one for each rule, and the diagnosis that holds all of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from kvmlab.errors import EXIT_OK, EXIT_SKIPPED, UsageError
from kvmlab.facts.rules import BOOK, Rule
from kvmlab.language import _
from kvmlab.serialization import to_json


class Verdict(StrEnum):
    """Verdicts of a rule on a host."""

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
    observed: str
    fix: str = ""
    #: What the finding is about: PCI addresses, interfaces, VMs.
    subjects: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """The state that the rule expects."""
        return BOOK[self.rule].title

    @property
    def cause(self) -> str:
        """The consequence of breaking the rule."""
        return BOOK[self.rule].cause

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values for JSON."""
        return {
            "rule": str(self.rule),
            "title": self.title,
            "verdict": str(self.verdict),
            "read": self.read,
            "found": self.observed,
            "cause": self.cause,
            "fix": self.fix,
            "subjects": list(self.subjects),
        }


def ok(rule: Rule, read: str, message: str, subjects: Iterable[str] = ()) -> Finding:
    """Return a finding without a fault."""
    return Finding(rule, Verdict.OK, read, message, subjects=tuple(subjects))


def warning(
    rule: Rule, read: str, message: str, *, fix: str = "", subjects: Iterable[str] = ()
) -> Finding:
    """Return a risk; its fix is the rule's own unless one is passed."""
    return Finding(rule, Verdict.WARNING, read, message, fix or BOOK[rule].fix, tuple(subjects))


def problem(
    rule: Rule, read: str, message: str, *, fix: str = "", subjects: Iterable[str] = ()
) -> Finding:
    """Return a fault; its fix is the rule's own unless one is passed."""
    return Finding(rule, Verdict.PROBLEM, read, message, fix or BOOK[rule].fix, tuple(subjects))


def not_applicable(rule: Rule, read: str, message: str) -> Finding:
    """Return a finding for a rule without a subject on this host."""
    return Finding(rule, Verdict.NOT_APPLICABLE, read, message)


def unknown(rule: Rule, read: str, message: str, *, fix: str = "") -> Finding:
    """Return a finding that could not be read; ``message`` says why."""
    return Finding(rule, Verdict.UNKNOWN, read, message, fix)


@dataclass(frozen=True)
class SchemeFinding:
    """One scheme: possible or not, in the words of the scheme itself."""

    scheme: str
    label: str
    possible: bool
    rule: str = ""
    observed: str = ""
    fix: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values for JSON."""
        values: dict[str, Any] = to_json(self)
        values["found"] = values.pop("observed")
        return values


@dataclass(frozen=True)
class Diagnosis:
    """Every rule on one host."""

    label: str
    emulated: str | None
    findings: tuple[Finding, ...]
    schemes: tuple[SchemeFinding, ...] = ()

    def finding(self, rule: Rule | str) -> Finding:
        """Return the finding of that rule.

        Raises:
            UsageError: the doctor has no such rule.
        """
        for finding in self.findings:
            if finding.rule == rule:
                return finding
        raise UsageError(
            f"The doctor has no rule {str(rule)!r}.",
            todo=f"It has: {', '.join(finding.rule for finding in self.findings)}.",
        )

    def of(self, verdict: Verdict) -> tuple[Finding, ...]:
        """Return the findings with that verdict."""
        return tuple(finding for finding in self.findings if finding.verdict is verdict)

    @property
    def problems(self) -> tuple[Finding, ...]:
        """Findings of faults."""
        return self.of(Verdict.PROBLEM)

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """Findings of risks."""
        return self.of(Verdict.WARNING)

    @property
    def exit_code(self) -> int:
        """3 where there is a problem (the host cannot do something), else 0."""
        return EXIT_SKIPPED if self.problems else EXIT_OK

    @property
    def summary(self) -> str:
        """All verdicts, counted."""
        counts = [
            f"{len(self.of(verdict))} {_(verdict)}" for verdict in Verdict if self.of(verdict)
        ]
        return _(", ").join(counts)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values for JSON."""
        return {
            "host": self.label,
            "emulated": self.emulated,
            "exit_code": self.exit_code,
            "counts": {str(verdict): len(self.of(verdict)) for verdict in Verdict},
            "findings": [finding.to_dict() for finding in self.findings],
            "schemes": [scheme.to_dict() for scheme in self.schemes],
        }

    def __str__(self) -> str:
        """Return plain text for a terminal, without colours."""
        from kvmlab.doctor.display import as_text

        return as_text(self)

    def _repr_html_(self) -> str:
        """Return HTML for a notebook."""
        from kvmlab.doctor.display import as_html

        return as_html(self)
