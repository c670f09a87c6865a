"""The survey of tunings: each against the scheme without it, resumable, on several hosts."""

from __future__ import annotations

import contextlib
import json
import os
import time
import uuid
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from kvmlab import __version__
from kvmlab.directories import write_atomically
from kvmlab.errors import ChangeError, KvmlabError, MeasureError, Unavailable, UsageError
from kvmlab.lab.block_pool import (
    SCHEDULER_VARIABLE,
    LoneTask,
    hosts_of,
    measure_alone,
    named_losses,
)
from kvmlab.measure import Progress, Trials
from kvmlab.results import Result, load, save
from kvmlab.results.atlas import (
    COLUMNS,
    Atlas,
    AtlasRow,
    Interaction,
    Words,
    effects_of,
    interaction_of,
    merged,
    payers_of,
)
from kvmlab.scheduler import connected
from kvmlab.tunings import Tuning, tuned
from kvmlab.tunings.texts import TuningText

if TYPE_CHECKING:
    from kvmlab.changes import Plan
    from kvmlab.facts import HostFacts
    from kvmlab.lab.lab import Lab
    from kvmlab.measure import OnProgress
    from kvmlab.schemes import Scheme

#: The workloads of an atlas: TCP both ways, small packets, requests, echoes, many flows.
WORKLOADS: Final = ("tcp_up", "tcp_down", "pps", "request_response", "latency", "tcp_up_flows")
#: Those of its four columns: TCP from the VM, echoes.
COLUMN_WORKLOADS: Final = tuple(dict.fromkeys(workload for _, workload in COLUMNS.values()))
#: The settings of an atlas. Costs are counted in full, so that a row can say who paid. One trial
#: each: intervals are those of whole measurements.
TRIALS: Final = Trials(count=1, workloads=WORKLOADS, trace_path=False, full_costs=True, flows=4)
#: Measurements of the scheme without tunings, spread over the survey: what they differ by is what
#: a tuning has to differ by more.
BASELINES: Final = 3
_SETTINGS: Final = "settings.json"
_REFUSED: Final = "refused.txt"
#: Why it failed; a second run tries it again.
_FAILED: Final = "failed.txt"
PAIRS: Final = 5


@dataclass(frozen=True)
class SurveyItem:
    """One thing to be measured: the scheme with these tunings, or a baseline.

    ``folder`` is the name under which its results are kept.
    """

    tunings: tuple[Tuning, ...]
    folder: str
    is_baseline: bool = False

    @property
    def name(self) -> str:
        """The tunings as text: "rx-ring=256+mtu=9000"."""
        return "+".join(map(str, self.tunings))


@dataclass(frozen=True)
class ComparedItems:
    """Items that are compared with the same baselines."""

    baselines: tuple[SurveyItem, ...]
    items: tuple[SurveyItem, ...]

    def in_order(self) -> list[SurveyItem]:
        """Return all with the baselines first, last and evenly between, to meet every drift."""
        order = list(self.items)
        gaps = max(1, len(self.baselines) - 1)
        places = [number * len(order) // gaps for number in range(len(self.baselines))]
        for place, baseline in reversed(list(zip(places, self.baselines, strict=True))):
            order.insert(place, baseline)
        return order


class Survey:
    """A survey of tunings of one scheme on one host, kept in a folder and resumed from there.

    Under the virtual clock each item is measured on an embedded host of its own, restored from the
    saved state, so that none finds what another left; ``jobs`` of them measure at a time. On other
    hosts all is measured on the lab's own, one after the other. ``budget_sec`` seconds of our own
    time are spent at most. ``baselines`` is how often the scheme without tunings is measured.
    """

    def __init__(
        self,
        lab: Lab,
        scheme: Scheme,
        tunings: Sequence[Tuning],
        *,
        folder: Path,
        trials: Trials = TRIALS,
        jobs: int = 1,
        baselines: int = BASELINES,
        budget_sec: float | None = None,
        progress: OnProgress | None = None,
    ) -> None:
        self._lab, self._scheme, self._trials = lab, scheme, trials
        self._tunings = tuple(tunings)
        self._folder, self._jobs = folder, jobs
        self._baselines = baselines
        self._ends = None if budget_sec is None else time.monotonic() + budget_sec
        self._progress = progress or (lambda _step: None)
        self._plans: dict[SurveyItem, Plan] = {}

    def run(self, *, pairs: int = 0) -> Atlas:
        """Measure what the folder does not hold yet, and return the atlas of all of it.

        With ``pairs`` so many of the strongest tunings are measured two at a time as well.

        Raises:
            ChangeError, MeasureError: the scheme without tunings could not be measured.
            UsageError: several jobs were asked for where figures depend on the machine's load.
        """
        self._require_same_settings()
        groups = self._groups()
        self._measure([item for group in groups for item in group.in_order()], self._trials)
        atlas = self._atlas(groups)
        if pairs < 2:
            return atlas
        strongest = self._strongest(atlas, pairs)
        doubles = [
            SurveyItem(pair, "+".join(map(str, pair))) for pair in combinations(strongest, 2)
        ]
        of_pairs = [name for name in self._trials.workloads if name in COLUMN_WORKLOADS]
        self._measure(doubles, replace(self._trials, workloads=of_pairs))
        return replace(atlas, interactions=self._interactions(atlas, groups[0], doubles))

    def _require_same_settings(self) -> None:
        """Note what is measured in the folder, or compare it with what is noted there.

        Raises:
            UsageError: the folder holds a survey of another kind.
        """
        path = self._folder / _SETTINGS
        mine = {"host": self._lab.host.label, "scheme": self._scheme.id, **self._trials.to_dict()}
        try:
            noted = json.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, json.dumps(mine) + "\n")
            return
        except ValueError:
            noted = {}
        if noted != mine:
            others = [name for name, value in mine.items() if noted.get(name) != value]
            raise UsageError(
                f"The folder {self._folder} holds a survey with other settings: "
                f"{', '.join(others)}.",
                todo="Use another folder, or the same settings.",
            )

    def _groups(self) -> tuple[ComparedItems, ...]:
        """Return the items by what they are compared with.

        A VM that was started anew is another one than that of the saved state: its own baseline is
        one that was started anew with nothing else.
        """
        items = [SurveyItem((tuning,), str(tuning)) for tuning in self._tunings]
        running = tuple(item for item in items if not item.tunings[0].restarts_vm)
        restarted = tuple(item for item in items if item.tunings[0].restarts_vm)
        plain: tuple[SurveyItem, ...] = ()
        if any((self._folder / i.folder / "results.json").exists() for i in restarted) or (
            next(self._planned(restarted), None)
        ):
            kind = type(restarted[0].tunings[0])
            # Each takes a minute. Their spread counts together with that of the others.
            number = min(self._baselines, BASELINES)
            plain = self._baseline_items((kind(kind.default),), "baseline-restarted", number)
        return (
            ComparedItems(self._baseline_items((), "baseline", self._baselines), running),
            ComparedItems(plain, restarted),
        )

    def _baseline_items(
        self, tunings: tuple[Tuning, ...], name: str, count: int
    ) -> tuple[SurveyItem, ...]:
        numbers = range(1, count + 1)
        return tuple(SurveyItem(tunings, f"{name}-{n}", is_baseline=True) for n in numbers)

    # ------------------------------------------------------------------ measuring

    def _measure(self, items: Sequence[SurveyItem], trials: Trials) -> None:
        missing = [item for item in items if not self._is_done(item)]
        with contextlib.closing(self._outcomes(missing, trials)) as outcomes:
            for done, (item, outcome) in enumerate(outcomes, start=1):
                if isinstance(outcome, Result):
                    save([outcome], self._folder / item.folder)
                elif not item.is_baseline:
                    self._note(item, _FAILED, f"It failed: {outcome.message}")
                else:
                    raise outcome
                total = len(missing) - sum(self._is_refused(each) for each in missing)
                self._progress(Progress(done, total, item.name or "without tunings"))

    def _planned(self, items: Sequence[SurveyItem]) -> Iterator[tuple[SurveyItem, Plan]]:
        """Yield what is not measured yet with its plan; what the host cannot do is refused.

        A plan reads the host: each is made when it is asked for, and once.

        Raises:
            Unavailable: the host cannot do the scheme without tunings.
        """
        for item in items:
            if item not in self._plans and not self._is_done(item):
                try:
                    self._plans[item] = self._lab.plan(self._tuned(item))
                except Unavailable as error:
                    if not item.tunings:
                        raise
                    self._note(item, _REFUSED, error.message)
            if not self._is_done(item):
                yield item, self._plans[item]

    def _outcomes(
        self, items: Sequence[SurveyItem], trials: Trials
    ) -> Generator[tuple[SurveyItem, Result | KvmlabError], None, None]:
        """Yield each item with its result, or the error that ended it."""
        plans = self._planned(items)
        if self._jobs > 1 or self._lab.can_be_copied:
            yield from self._outcomes_of_copies(plans, trials)
            return
        for item, plan in plans:
            if self._is_over(item):
                continue
            try:
                yield item, self._lab.compare(plan, trials=trials, jobs=1)[0]
            except (ChangeError, MeasureError) as error:
                yield item, error

    def _outcomes_of_copies(
        self, plans: Iterator[tuple[SurveyItem, Plan]], trials: Trials
    ) -> Generator[tuple[SurveyItem, Result | KvmlabError], None, None]:
        """Yield the outcomes as they come, from hosts that are restored for one item each."""
        following = next(plans, None)
        if following is None:
            return  # all of it is measured: no scheduler is needed
        settings = self._lab.settings_of_copies
        survey = uuid.uuid4().hex[:12]
        address = os.environ.get(SCHEDULER_VARIABLE, "")
        with (
            connected(address, self._jobs) as client,
            named_losses(client, address),
            hosts_of(survey, client),
        ):
            from distributed import Future, as_completed

            items: dict[Future[Result], SurveyItem] = {}
            running = as_completed()

            def submit_next() -> None:
                nonlocal following
                while following is not None and self._is_over(following[0]):
                    following = next(plans, None)
                if following is not None:
                    item, plan = following
                    task = LoneTask(survey, plan, trials, settings)
                    future = client.submit(measure_alone, task, pure=False)
                    items[future] = item
                    running.add(future)
                    # Planned while others are measured: no host waits for it.
                    following = next(plans, None)

            # No more than are measured at a time: nothing begins once the budget is spent.
            for _ in range(self._jobs):
                submit_next()
            for future in running:
                submit_next()
                try:
                    outcome: Result | KvmlabError = future.result()
                except KvmlabError as error:
                    outcome = error
                yield items.pop(future), outcome

    def _is_over(self, item: SurveyItem) -> bool:
        """Return whether the budget is spent; baselines are measured in any case."""
        return not item.is_baseline and self._ends is not None and time.monotonic() > self._ends

    def _tuned(self, item: SurveyItem) -> Scheme:
        return tuned(self._scheme, *item.tunings) if item.tunings else self._scheme

    def _is_done(self, item: SurveyItem) -> bool:
        folder = self._folder / item.folder
        return (folder / "results.json").exists() or self._is_refused(item)

    def _is_refused(self, item: SurveyItem) -> bool:
        return (self._folder / item.folder / _REFUSED).exists()

    def _note(self, item: SurveyItem, name: str, reason: str) -> None:
        folder = self._folder / item.folder
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / name, reason + "\n")

    # ------------------------------------------------------------------ the atlas

    def _result(self, item: SurveyItem) -> Result | None:
        folder = self._folder / item.folder
        return load(folder)[0] if (folder / "results.json").exists() else None

    def _results(self, items: Sequence[SurveyItem]) -> dict[SurveyItem, Result]:
        results = {item: self._result(item) for item in items}
        return {item: result for item, result in results.items() if result is not None}

    def _atlas(self, groups: Sequence[ComparedItems]) -> Atlas:
        baselines = [tuple(self._results(group.baselines).values()) for group in groups]
        baseline = merged(baselines[0])
        rows: dict[str, AtlasRow] = {}
        for group, own in zip(groups, baselines, strict=True):
            others = [each for each in baselines if each is not own and len(each) > 1]
            results = self._results(group.items)
            for item in group.items:
                row = self._row(
                    item, results.get(item), own, among=list(results.values()), repeats=others
                )
                against = group.baselines[0].name if group.baselines else ""
                rows[item.name] = replace(row, against=against)
        return Atlas(
            scheme=self._scheme.id,
            host=baseline.host,
            clock=baseline.clock,
            emulated=baseline.emulated,
            measured_on=datetime.now(UTC).date().isoformat(),
            versions=versions_of(self._lab.facts, baseline.meta.get("guest", {})),
            rows=tuple(rows[str(tuning)] for tuning in self._tunings),
            baselines=len(baselines[0]),
        )

    def _row(
        self,
        item: SurveyItem,
        result: Result | None,
        baselines: Sequence[Result],
        *,
        among: Sequence[Result],
        repeats: Sequence[Sequence[Result]] = (),
    ) -> AtlasRow:
        place = " and ".join(dict.fromkeys(tuning.place.value for tuning in item.tunings))
        words: dict[str, Words] = {}
        if len(item.tunings) == 1:
            words = words_of(item.tunings[0].text)
        row = AtlasRow(item.name, self._scheme.id, place, words)
        if result is None or not baselines:
            return replace(row, refused=self._reason(item))
        return replace(
            row,
            effects=effects_of(baselines, result, among, repeats),
            payers=payers_of(merged(baselines), result),
            trials=len(result.of(result.workloads[0])),
        )

    def _reason(self, item: SurveyItem) -> str:
        for name in (_REFUSED, _FAILED):
            with contextlib.suppress(OSError):
                text = (self._folder / item.folder / name).read_text("utf-8").strip()
                return text.removeprefix(f"The tuning {item.name} cannot be applied. ")
        return "The budget was spent before its turn."

    def _strongest(self, atlas: Atlas, count: int) -> list[Tuning]:
        """Return the tunings with the largest effects on throughput, each id once."""
        by_name = {str(tuning): tuning for tuning in self._tunings}
        effects = {row.tuning: row.effect("throughput") for row in atlas.measured}
        shown = {name: e for name, e in effects.items() if e is not None and e.shown}
        strongest: dict[str, Tuning] = {}
        for name in sorted(shown, key=lambda name: -shown[name].size):
            tuning = by_name[name]
            # All offloads at once hold the others, and a VM that starts anew takes half a minute.
            if tuning.restarts_vm or tuning.id == "offloads":
                continue
            strongest.setdefault(tuning.id, tuning)
        return list(strongest.values())[:count]

    def _interactions(
        self, atlas: Atlas, group: ComparedItems, doubles: Sequence[SurveyItem]
    ) -> tuple[Interaction, ...]:
        baselines = tuple(self._results(group.baselines).values())
        results = self._results(doubles)
        pairs = []
        for item, result in results.items():
            both = self._row(item, result, baselines, among=list(results.values()))
            first, second = (atlas.row(str(tuning)) for tuning in item.tunings)
            pairs.append(interaction_of(first, second, both, next(iter(COLUMNS))))
        return tuple(pair for pair in pairs if pair is not None)


def words_of(text: TuningText) -> dict[str, Words]:
    """Return the sentences of a tuning by language."""
    return {
        language: Words(
            title=text.title.in_language(language),
            does=text.does.in_language(language),
            use=text.use.in_language(language),
            elsewhere=text.elsewhere.in_language(language),
        )
        for language in ("en", "zh-CN")
    }


def versions_of(facts: HostFacts, guest: Mapping[str, Any] | None = None) -> dict[str, str]:
    """Return the versions that figures hold for; ``guest`` is what a result knows of the VM."""
    versions = {
        "kvmlab": __version__,
        "host kernel": facts.kernel.release,
        "libvirt": str(facts.libvirt.version or ""),
        "QEMU": str(facts.libvirt.qemu_version or ""),
        "guest kernel": str((guest or {}).get("kernel", "")),
    }
    return {name: version for name, version in versions.items() if version}
