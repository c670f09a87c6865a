"""PLOT: results as figures, tables, sentences and one page of HTML. Sees no host."""

from kvmlab.report import figures, sentences, tables

__all__ = ["figures", "sentences", "tables"]
