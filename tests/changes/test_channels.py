"""Queue pairs, as `ethtool -l` prints them."""

from __future__ import annotations

import pytest

from kvmlab.changes import Channels
from kvmlab.changes.channels import parse_channels
from kvmlab.errors import OutputError

#: Printed inside the test VM, with four queue pairs offered and one in use.
FOUR = """\
Channel parameters for eth0:
Pre-set maximums:
RX:\t\tn/a
TX:\t\tn/a
Other:\t\tn/a
Combined:\t4
Current hardware settings:
RX:\t\tn/a
TX:\t\tn/a
Other:\t\tn/a
Combined:\t1
"""


def test_offered_and_used() -> None:
    assert parse_channels(FOUR) == Channels(offered=4, used=1)


@pytest.mark.parametrize("text", ["", FOUR.replace("Combined", "RX"), FOUR + "Combined:\t1\n"])
def test_a_malformed_answer_is_reported(text: str) -> None:
    with pytest.raises(OutputError):
        parse_channels(text)
