"""The doctor: every rule about a host, with what was read, the verdict and the fix."""

from kvmlab.doctor.examination import examine, judge, read_findings_input
from kvmlab.doctor.model import Diagnosis, Finding, SchemeFinding, Verdict

__all__ = [
    "Diagnosis",
    "Finding",
    "SchemeFinding",
    "Verdict",
    "examine",
    "judge",
    "read_findings_input",
]
