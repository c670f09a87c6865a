"""The final assessment in a notebook: drawn, done, scored, and the certificate."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import ipywidgets
from lxml import etree
from lxml.html.builder import IFRAME, TABLE, TD, TH, TR

from kvmlab.course import assessment, phrases
from kvmlab.course.assessment import Assessment
from kvmlab.course.bilingual import Bilingual
from kvmlab.course.button_panel import WRAPPED, Action, ButtonPanel
from kvmlab.course.card import TaskCard
from kvmlab.course.certificate import certificate, write_certificate
from kvmlab.course.elements import GREEN, GREY, ORANGE, frame, html, paragraph
from kvmlab.course.progress import TaskState, read_progress, task_states
from kvmlab.course.question import find_question
from kvmlab.course.session import TaskSession
from kvmlab.errors import UsageError
from kvmlab.language import translate
from kvmlab.widgets.elements import display_controls

if TYPE_CHECKING:
    from kvmlab.widgets import HostTerminal

_HEADING: Final = Bilingual("The final assessment", "结业测验")
_ABOUT: Final = Bilingual(
    "Twenty tasks and questions from all notebooks. The same seed draws the same ones. A hint costs a quarter of a task's point, a solution that was shown the whole point; whether an answer is right is said at the end.",
    "从各篇抽取二十道任务和问题，种子相同则题目相同。每用一个提示扣该任务四分之一分，看过解答的任务不得分；答案对不对，最后才知道。",
)
_IN_TERMINAL: Final = Bilingual(
    "In JupyterLab this is a panel. In a terminal: `kvmlab assess begin --name NAME --seed NUMBER`, then `show`, `answer`, `finish`, `certificate`.",
    "在 JupyterLab 里，这里是一个面板。在终端里：`kvmlab assess begin --name NAME --seed NUMBER`，之后是 `show`、`answer`、`finish`、`certificate`。",
)
_NAME: Final = Bilingual("name", "姓名")
_SEED: Final = Bilingual("seed", "种子")
_BEGIN: Final = Bilingual("Begin", "开始测验")
_FINISH: Final = Bilingual("Finish", "交卷")
_CERTIFICATE: Final = Bilingual("Certificate", "结业证书")
_INTERRUPTED: Final = Bilingual("Interrupted.", "已中断。")
_ANSWERED: Final = Bilingual("answered", "已作答")
_OPEN: Final = Bilingual(
    "{open} of {items} items are open. Press Finish once more to have it scored.",
    "{items} 题中还有 {open} 题没有完成。再按一次“交卷”就评分。",
)
_PASSED: Final = Bilingual(
    "Passed, with {score} of {items} points.", "通过：{items} 分中得 {score} 分。"
)
_NOT_PASSED: Final = Bilingual(
    "Not passed: {score} of {items} points; {needed} are needed. Another seed draws another one.",
    "没有通过：{items} 分中得 {score} 分，需要 {needed} 分。换一个种子可以再考一次。",
)
_REPLACES: Final = Bilingual(
    "{name} has begun one that is not finished. Press Begin once more to give it up.",
    "{name} 的测验还没有交卷。再按一次“开始测验”就放弃它。",
)
_WRITTEN: Final = Bilingual("The certificate is in `{path}`.", "证书保存在 `{path}`。")
_TITLE_LETTERS: Final = 76
_WIDE: Final = {"width": "max-content", "max_width": "60em"}


class AssessmentPanel(ButtonPanel):
    """The assessment of this seat with its controls. Where nobody clicks a sentence stands there.

    ``session_of`` returns a task on the open host. What was begun in a terminal goes on here, and
    the other way. ``folder`` is where the certificate is written. The button of ``terminal`` stands
    above the panel.
    """

    def __init__(
        self,
        session_of: Callable[[str], TaskSession],
        folder: Path | None = None,
        terminal: HostTerminal | None = None,
    ) -> None:
        super().__init__(
            Action(_BEGIN, self._begin, "primary"),
            Action(_FINISH, self._finish, "success"),
            Action(_CERTIFICATE, self._certificate),
            interrupted=_INTERRUPTED,
        )
        self._session_of = session_of
        self._terminal = terminal
        self._folder = folder or Path()
        self._asked_twice = ""
        self.name = ipywidgets.Text(description=_NAME.text(), layout={"width": "20em"})
        self.seed = ipywidgets.BoundedIntText(
            value=random.SystemRandom().randrange(10_000),
            min=0,
            max=999_999,
            description=_SEED.text(),
            layout={"width": "14em"},
        )
        self.items: tuple[str, ...] = ()
        self.cards: dict[str, TaskCard] = {}
        self.choices: dict[str, Any] = {}
        self.accordion = ipywidgets.Accordion(children=[], selected_index=None)
        self.controls = ipywidgets.VBox(
            [
                ipywidgets.HTML(html(_bold(_HEADING), paragraph(_ABOUT))),
                ipywidgets.HBox([self.name, self.seed, self.buttons["Begin"]], layout=WRAPPED),
                self.accordion,
                self._row("Finish", "Certificate"),
                self.message,
            ]
        )
        self._show(_present())

    def _ipython_display_(self) -> None:
        about = frame(_bold(_HEADING), paragraph(_ABOUT), paragraph(_IN_TERMINAL, colour=GREY))
        display_controls(self.controls, html(about), terminal=self._terminal)

    def _after_click(self) -> None:
        self._enable_possible(_present())

    def _enable_possible(self, present: Assessment | None) -> None:
        possible = ["Begin"]
        if present is not None and not present.finished:
            possible.append("Finish")
        if present is not None and present.passed:
            possible.append("Certificate")
        self._enable(*possible)

    def _begin(self) -> tuple[etree._Element, ...]:
        present = _present()
        if present is not None and not present.finished and self._asked_twice != "Begin":
            self._asked_twice = "Begin"
            return (paragraph(_REPLACES.format(name=present.name), colour=ORANGE),)
        self._asked_twice = ""
        self._show(assessment.begin(self.name.value, int(self.seed.value)))
        return ()

    def _finish(self) -> tuple[etree._Element, ...]:
        present = assessment.current()
        states = _task_states(present)
        open_items = sum(
            item not in present.answers
            if assessment.is_question(item)
            else states.get(item) not in (TaskState.PASSED, TaskState.SOLVED)
            for item in present.items
        )
        if open_items and self._asked_twice != "Finish":
            self._asked_twice = "Finish"
            return (paragraph(_OPEN.format(open=open_items, items=len(self.items)), colour=ORANGE),)
        self._asked_twice = ""
        done = assessment.finish()
        self._show(done)
        return _result(done)

    def _certificate(self) -> tuple[etree._Element, ...]:
        done = assessment.current()
        path = write_certificate(done, self._folder / "certificate.html")
        page = IFRAME(
            srcdoc=certificate(done),
            sandbox="",
            title=_CERTIFICATE.text(),
            style="width: 100%; max-width: 60em; height: 46em; border: 0;",
        )
        return (paragraph(_WRITTEN.format(path=path.resolve())), page)

    def _show(self, present: Assessment | None) -> None:
        """Show the items of an assessment that is open, or what came of it."""
        is_open = present is not None and not present.finished
        self._enable_possible(present)
        self.items = present.items if present is not None and is_open else ()
        self.cards, self.choices = {}, {}
        children = [self._item(item, present) for item in self.items if present is not None]
        self.accordion.selected_index = None
        self.accordion.children = children
        self._update()
        if present is not None and present.finished:
            self.message.value = html(*_result(present))

    def _item(self, item: str, present: Assessment) -> Any:
        if not assessment.is_question(item):
            self.cards[item] = TaskCard(self._session_of(item), self._update)
            return self.cards[item].controls
        question = find_question(item)
        options = [
            (choice.text.text().replace("`", ""), number)
            for number, choice in enumerate(question.choices, 1)
        ]
        chosen = ipywidgets.RadioButtons(
            options=options, value=present.answers.get(item), layout=_WIDE
        )
        chosen.observe(self._answerer(item), names="value")
        self.choices[item] = chosen
        return ipywidgets.VBox([ipywidgets.HTML(html(paragraph(question.text))), chosen])

    def _answerer(self, item: str) -> Callable[[Any], None]:
        def answered(change: Any) -> None:
            if change["new"] is None:
                return
            try:
                assessment.answer(item, int(change["new"]))
            except UsageError as error:
                self.message.value = html(paragraph(translate(error.message), colour=ORANGE))
            self._update()

        return answered

    def _update(self) -> None:
        """Write the items' titles anew, with what has been made of each."""
        present = _present()
        states = self._states(present) if present is not None else {}
        for number, item in enumerate(self.items):
            title = assessment.title_of(item).text().replace("`", "")
            if len(title) > _TITLE_LETTERS:
                title = f"{title[:_TITLE_LETTERS].rstrip()} …"
            state = states.get(item, "")
            self.accordion.set_title(number, f"{item}  {title}" + (f" · {state}" if state else ""))

    def _states(self, present: Assessment) -> dict[str, str]:
        """Return for each item what was made of it since the assessment began, in a word."""
        states = _task_states(present)
        return {
            item: (_ANSWERED.text() if item in present.answers else "")
            if assessment.is_question(item)
            else phrases.STATE[states.get(item, TaskState.UNTOUCHED)].text()
            for item in present.items
        }


def _present() -> Assessment | None:
    """Return the assessment that this seat has begun; None without one."""
    return assessment.current() if assessment.result_path().is_file() else None


def _task_states(present: Assessment) -> dict[str, TaskState]:
    return task_states(entry for entry in read_progress() if entry.time >= present.begun)


def _result(done: Assessment) -> tuple[etree._Element, ...]:
    """Return the verdict, and the points by notebook."""
    count = len(done.items)
    needed = f"{assessment.PASS_SHARE * count:g}"
    words = _PASSED if done.passed else _NOT_PASSED
    verdict = words.format(score=f"{done.score:g}", items=count, needed=needed)
    rows = [
        TR(
            TH(number, style="text-align: left; padding: .1em 1em .1em 0;"),
            TD(f"{points:g} / {of}"),
        )
        for number, (points, of) in sorted(assessment.notebook_points(done).items())
    ]
    return (paragraph(verdict, colour=GREEN if done.passed else ORANGE), TABLE(*rows))


def _bold(text: Bilingual) -> etree._Element:
    element = paragraph(text)
    element.set("style", "font-weight: 600; margin: .3em 0;")
    return element
