"""Live parts of notebooks. Each shows the same without a browser, from the same functions."""

from kvmlab.widgets.adviser import AdvicePanel
from kvmlab.widgets.cards import card
from kvmlab.widgets.panel import TrialPanel
from kvmlab.widgets.ticker import Ticker

__all__ = ["AdvicePanel", "Ticker", "TrialPanel", "card"]
