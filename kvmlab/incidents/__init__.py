"""Incidents: faults that are put in blind, reported by their symptom, found by measuring."""

from kvmlab.incidents import phrases
from kvmlab.incidents.fault import Fault, FaultSite, Layer
from kvmlab.incidents.health import Effect, Health, Prober
from kvmlab.incidents.registry import FAULTS, draw, find_fault
from kvmlab.incidents.session import IncidentCheck, IncidentSession, IncidentState, read_incident

__all__ = [
    "FAULTS",
    "Effect",
    "Fault",
    "FaultSite",
    "Health",
    "IncidentCheck",
    "IncidentSession",
    "IncidentState",
    "Layer",
    "Prober",
    "draw",
    "find_fault",
    "phrases",
    "read_incident",
]
