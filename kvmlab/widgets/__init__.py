"""Interactive parts of notebooks; each shows the same without a browser."""

from kvmlab.widgets.advice_panel import AdvicePanel
from kvmlab.widgets.elements import card
from kvmlab.widgets.host_terminal import HostTerminal
from kvmlab.widgets.ticker import Ticker
from kvmlab.widgets.trial_panel import TrialPanel

__all__ = ["AdvicePanel", "HostTerminal", "Ticker", "TrialPanel", "card"]
