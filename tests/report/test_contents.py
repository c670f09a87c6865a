"""The contents of a report, from the headings of its notebooks."""

from __future__ import annotations

import pytest
from nbformat.v4 import new_markdown_cell

from kvmlab.report.page import contents


@pytest.mark.parametrize(
    ("heading", "text"),
    [
        ("# vhost_net and macvtap", "vhost_net and macvtap"),
        ("# The `ip` of *all* _links_", "The ip of all links"),
        ("# A [page](https://example.org/a_b)", "A page"),
    ],
)
def test_a_heading_loses_its_markup_only(heading: str, text: str) -> None:
    assert contents([new_markdown_cell(heading)])[0].text == text
