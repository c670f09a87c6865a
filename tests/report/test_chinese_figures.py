"""In a Chinese run every text of a figure or a table is Chinese or a name, also at the pointer."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import pytest
from lxml import html

import kvmlab
from kvmlab.language import reading
from kvmlab.measure.baseline import LABEL
from kvmlab.report import figures, tables
from kvmlab.results import Reach, Result, compare
from kvmlab.results.atlas import Atlas
from tests.facts.host_builder import Layout, described
from tests.measure.test_timeline import RECORDED, timeline
from tests.report import builders, test_migration_figure, test_sweep, test_tables

MAC = "52:54:00:6b:76:01"
HOSTS = Path(__file__).resolve().parents[1] / "data" / "hosts"
#: Names, of sources and devices, which no language changes.
NAMES = re.compile(
    r"Interesting observation regarding virtio-net|Network Tuning Techniques"
    r"|KVM NIC performance|virtink docs/\S+|issue \d+|(?:SR-IOV|PCI) \w+|CPU \d+/KVM"
    r"|Open vSwitch|IOMMU|posted interrupts|virtio, vhost|Linux commit|\w\S*=\S+|net:\w+"
    r"|confidential VM|opnsense/\S+|kvm-guest-\S+|Meltdown and Spectre Performance"
    r"|^(?:Embedded host\.|Recorded on the embedded host\.)"
    r"|Performance analysis of the Linux firewall in a host"
)
#: Two English words, or one that is in every sentence.
ENGLISH = re.compile(
    r"[A-Za-z']{2,},? [a-z']{2,}"
    r"|\b(?:the|of|and|a|an|is|on|with|without|at|less|more|median|trial|ratio|others|exit|packet"
    r"|published|better|worse|nothing|logarithmic|paper|stop|back|guest|host|peer|up|throughput"
    r"|instructions)\b"
)


def bare_port() -> Result:
    return builders.result("host", LABEL, (30.0, 31.0, 32.0), (9_000, 9_100, 9_200), 0.0)


def vf() -> Result:
    return builders.result("sriov-vf", "SR-IOV VF", (28.0, 29.0), (10_000, 10_100), 0.1)


def schemes() -> tuple[Result, ...]:
    return (builders.e1000(), builders.virtio(), vf(), bare_port())


def on_two_hosts() -> tuple[Result, ...]:
    return tuple(replace(each, host=host) for each in schemes() for host in ("kvm1", each.host))


def flagged() -> Result:
    first, *rest = builders.virtio().trials
    trials = (replace(first, flags=("steal on the host 31 % of one CPU",)), *rest)
    return replace(builders.virtio(), trials=trials)


def labelled(result: Result) -> Result:
    return replace(result, label=LABEL)


def ratios() -> go.Figure:
    metrics = ("tcp_up_mbps", "rtt_p50_us")
    pairs = [compare(bare_port(), vf(), metric) for metric in metrics]
    exits = compare(builders.e1000(), builders.virtio(), "vm_exits_per_packet", "tcp_up")
    return figures.ratios(*schemes(), comparisons=[*pairs, exits])


def predicted() -> go.Figure:
    return kvmlab.predict("04-latency").beside(compare(bare_port(), vf(), "rtt_p50_us")).figure


def tunings_predicted() -> go.Figure:
    guesses = kvmlab.predict_tunings("08-tour", "guest-tso=off", "mtu=9000", "rx-ring=64")
    guesses.lists["guest-tso=off"].value = "worse"
    guesses.lists["mtu=9000"].value = "same"
    return guesses.beside(Atlas.shipped()).figure


def stack(name: str) -> go.Figure:
    return figures.stack(Layout(described(HOSTS / f"{name}.yaml")).facts.users)


DRAWN: dict[str, Callable[[], go.Figure]] = {
    "atlas": lambda: figures.atlas(Atlas.shipped()),
    "compare": lambda: figures.compare(*schemes(), metric="tcp_up_mbps"),
    "compare two": lambda: figures.compare(bare_port(), vf(), metric="rtt_p50_us"),
    "compare flagged": lambda: figures.compare(flagged(), metric="tcp_up_mbps"),
    "costs": lambda: figures.costs(*schemes()),
    "costs, two hosts": lambda: figures.costs(*on_two_hosts()),
    "interactions": lambda: figures.interactions(Atlas.shipped()),
    "migration": lambda: figures.migration(test_migration_figure.RESULT),
    "overview": lambda: figures.overview(*schemes()),
    "overview, two hosts": lambda: figures.overview(*on_two_hosts()),
    "path": lambda: figures.path(builders.virtio()),
    "prediction": predicted,
    "published": lambda: figures.published(*schemes()[:3], baseline=bare_port()),
    "published latency": lambda: figures.published(
        *schemes()[:3], baseline=bare_port(), metric="rtt_p50_us"
    ),
    "ratios": ratios,
    "spread": lambda: figures.spread(test_tables.queues("vhost", 80, 0)),
    "sweep": lambda: figures.sweep(labelled(test_sweep.sizes())),
    "timeline": lambda: figures.timeline(*map(timeline, RECORDED)),
    "tunings predicted": tunings_predicted,
    "under load": lambda: figures.under_load(labelled(test_sweep.loaded())),
} | {f"stack of {path.stem}": lambda path=path: stack(path.stem) for path in HOSTS.glob("*.yaml")}


TABLES: dict[str, Callable[[], pd.DataFrame]] = {
    "atlas": lambda: tables.atlas(Atlas.shipped()),
    "at work": lambda: tables.at_work(test_tables.queues("vhost", 80, 0), kind="sent_packets"),
    "comparisons": lambda: tables.comparisons(
        compare(bare_port(), vf(), "rtt_p50_us"),
        compare(builders.e1000(), builders.virtio(), "vm_exits_per_packet", "tcp_up"),
    ),
    "emitters": lambda: tables.emitters(builders.virtio()),
    "flagged": lambda: tables.flagged(flagged()),
    "hops": lambda: tables.hops(builders.virtio()),
    "migrations": lambda: tables.migrations(test_migration_figure.RESULT),
    "published": tables.published,
    "queue limits": lambda: tables.queue_limits(
        test_tables.channels("vhost", 3.2, 800_000, 0), workload="tcp_up"
    ),
    "reach": lambda: tables.reach(
        Reach("macvtap", "p2p1", MAC, True, vm_to_peer=True, vm_to_host=False, host_to_vm=False),
        Reach(LABEL, "p2p1", MAC, False, vm_to_peer=False, vm_to_host=False, host_to_vm=False),
    ),
    "side by side": lambda: tables.side_by_side(*schemes()[:3], baseline=bare_port()),
    "summary": lambda: tables.summary(*schemes()),
    "timeline": lambda: tables.timeline(*map(timeline, RECORDED)),
}


def shown(part: Any) -> Iterator[str]:
    """Yield the texts of a part of a figure that somebody sees, between their tags."""
    match part:
        case str():
            yield from re.split(r"<[^<>]+>| {3,}", unescape(part))
        case list() | tuple():
            for item in part:
                yield from shown(item)
        case dict():
            for name, value in part.items():
                if name in ("text", "hovertext", "ticktext", "title", "notice"):
                    yield from shown(value)
                else:
                    yield from shown_within(value)
            if "type" in part and part.get("showlegend") is not False:
                yield from shown(part.get("name") or "")


def shown_within(value: Any) -> Iterator[str]:
    """Yield the texts of the dictionaries of a value; other strings are data."""
    if isinstance(value, dict):
        yield from shown(value)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from shown_within(item)


def english(texts: Iterable[str]) -> list[str]:
    return [text for text in dict.fromkeys(texts) if ENGLISH.search(NAMES.sub("", text))]


@pytest.mark.parametrize("name", DRAWN)
def test_no_text_of_a_figure_is_english(name: str) -> None:
    with reading("zh"):
        drawn = DRAWN[name]().to_plotly_json()
    layout = {key: value for key, value in drawn["layout"].items() if key != "template"}
    texts = [*shown_within(drawn["data"]), *shown(layout)]
    assert texts
    assert not english(texts)


@pytest.mark.parametrize("name", TABLES)
def test_no_cell_of_a_table_is_english(name: str) -> None:
    with reading("zh"):
        page = html.fromstring(f"<div>{TABLES[name]().to_html()}</div>")
    cells = ["".join(map(str, cell.itertext())) for cell in page.iter("th", "td")]
    assert cells
    assert not english(cells)
