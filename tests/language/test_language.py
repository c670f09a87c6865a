"""Texts in the reader's language: what is shown, and what stays as it is."""

from __future__ import annotations

import io
import json
import re
import threading
from pathlib import Path

import pytest
from rich.console import Console

from kvmlab.advice.guidance import WINDOWS
from kvmlab.cli import answer
from kvmlab.doctor import judge
from kvmlab.domain.threads import VmThreads
from kvmlab.errors import UsageError
from kvmlab.facts import Rule, inspect
from kvmlab.facts.fact_differences import _COMPARED
from kvmlab.lab.result_store import SavedResults
from kvmlab.language import (
    N_,
    _,
    current_language,
    ngettext,
    parse_language,
    process_language,
    reading,
    typeset,
)
from kvmlab.report import figures, sentences, tables
from kvmlab.results import compare
from kvmlab.runbook.notebooks import find_notebooks
from kvmlab.runbook.progress import RunProgress
from kvmlab.schemes import PciPassthrough, Scheme
from kvmlab.schemes.feasibility import Attempt
from tests.doctor.test_rules import readings
from tests.facts.host_builder import Layout, described
from tests.facts.recorded_host import load
from tests.report import builders
from tests.schemes.test_schemes import SCHEMES, cable_for

HOSTS = Path(__file__).resolve().parents[1] / "data" / "hosts"
HAN = re.compile("[\u3400-\u9fff]")


def test_a_text_is_shown_in_the_language_that_is_asked_for() -> None:
    assert _("Throughput rises.") == "Throughput rises."
    with reading("zh"):
        assert _("Throughput rises.") == "吞吐量上升。"
        with reading("en"):
            assert _("Throughput rises.") == "Throughput rises."


@pytest.mark.parametrize(
    ("finished", "chinese"),
    [
        ("There is no scheme 'x'. Did you mean y?", "没有方案 'x'。是不是 y？"),
        ("Its languages are: en, zh-CN.", "它的语言是：en, zh-CN。"),
        ("virtio, QEMU back end", "virtio，QEMU 后端"),
        ("virtio, vhost, 1 of 4 queues", "virtio，vhost，4 个队列用 1 个"),
        ("CPU time (guest)", "CPU 时间（虚拟机）"),
        ("p1 2 towards its VM; p2 3 towards its VM", "p1 发往虚拟机 2 个；p2 发往虚拟机 3 个"),
        ("irqbalance may move interrupts onto the vCPUs' CPUs of a and b.", "a 和 b 的 vCPU"),
        ("nobody wrote an entry for this", "nobody wrote an entry for this"),
        ("host", "宿主机"),
        ("cold boot: there is no saved state for this image, QEMU and preparation", "冷启动：这"),
        ("cold boot: a state; now saved", "冷启动：a state；现已保存"),
        ("eth0, bridge", "eth0, bridge"),
    ],
)
def test_a_finished_text_is_known_by_what_stands_around_its_places(
    finished: str, chinese: str
) -> None:
    with reading("zh"):
        assert chinese in _(finished)


def test_names_that_fill_a_place_are_not_translated() -> None:
    """A VM may be called `host`."""
    with reading("zh"):
        assert _("There is no domain host on kvm1; there are: bridge.") == (
            "kvm1 上没有虚拟机 host；有这些：bridge。"
        )


def test_a_plural_has_one_form_in_chinese() -> None:
    assert ngettext("{count} flow", "{count} flows", 1) == "1 flow"
    assert ngettext("{count} flow", "{count} flows", 4) == "4 flows"
    with reading("zh"):
        assert ngettext("{count} flow", "{count} flows", 1) == "1 条流"
        assert ngettext("{count} flow", "{count} flows", 4) == "4 条流"


def test_a_marked_text_is_translated_where_it_is_shown() -> None:
    text = N_("Throughput rises.")
    with reading("zh"):
        assert text == "Throughput rises."
        assert _(text) == "吞吐量上升。"


def test_han_and_latin_are_set_apart_and_han_is_not() -> None:
    assert typeset("每个数据包的VM 退出") == "每个数据包的 VM 退出"
    assert typeset("每个数据包的 上下文切换，") == "每个数据包的上下文切换，"


def test_threads_and_children_read_the_language_of_the_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("KVMLAB_LANGUAGE", raising=False)
    languages: list[str] = []
    with process_language("zh"):
        thread = threading.Thread(target=lambda: languages.append(current_language()))
        thread.start()
        thread.join()
    assert languages == ["zh-CN"]
    assert current_language() == "en"
    monkeypatch.setenv("KVMLAB_LANGUAGE", "zh")
    assert current_language() == "zh-CN"


def test_a_kernel_reads_in_the_language_of_its_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KVMLAB_LANGUAGE", raising=False)
    monkeypatch.setenv("JPY_SESSION_NAME", "/home/u/notebooks/zh-CN/00-packet-path.ipynb")
    assert current_language() == "zh-CN"


def test_an_unknown_language_is_answered_with_those_there_are() -> None:
    with pytest.raises(UsageError, match="language 'fr'"):
        parse_language("fr")


@pytest.mark.parametrize(
    "words",
    [
        ["--language", "zh", "run", "99"],
        ["run", "99", "--language", "zh"],
        ["run", "--language=zh", "99"],
    ],
)
def test_the_command_line_answers_in_chinese(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert answer(words) == 2
    assert "没有笔记本 '99'。" in capsys.readouterr().err


def test_help_is_chinese(capsys: pytest.CaptureFixture[str]) -> None:
    assert answer(["plan", "--help", "--language", "zh"]) == 0
    assert "显示一个方案会改动什么" in capsys.readouterr().out
    assert answer(["plan", "--help"]) == 0
    assert not HAN.search(capsys.readouterr().out)


def test_json_has_no_language(capsys: pytest.CaptureFixture[str]) -> None:
    assert answer(["notebooks", "--json"]) == 0
    english = json.loads(capsys.readouterr().out)
    assert answer(["notebooks", "--json", "--language", "zh"]) == 0
    assert json.loads(capsys.readouterr().out) == english


def test_an_error_is_shown_in_chinese_and_recorded_in_english() -> None:
    error = UsageError("There is no comparison to draw.", todo="Name another run.")
    with reading("zh"):
        assert str(error) == "没有可以画的比较。\n请换一次运行。"
        assert error.english == "There is no comparison to draw.\nName another run."


def test_a_frame_shows_chinese_and_holds_english() -> None:
    frame = tables.comparisons(compare(builders.e1000(), builders.virtio(), "tcp_up_mbps"))
    with reading("zh"):
        assert "判定" in str(frame._repr_html_())  # type: ignore[operator]
        assert "更好" in frame.to_html()
        assert list(frame["verdict"]) == ["better"]


def test_a_claim_shows_chinese_and_its_data_are_english() -> None:
    comparison = compare(builders.e1000(), builders.virtio(), "tcp_up_mbps")
    with reading("zh"):
        claim = sentences.claim("Throughput rises.", comparison, at_least=2.0)
        bundle = claim._repr_mimebundle_()
        assert bundle["text/markdown"].startswith("✓ 吞吐量上升。**得到证实**")
    english = sentences.claim("Throughput rises.", comparison, at_least=2.0)
    assert bundle[sentences.CLAIM_MIME] == english._repr_mimebundle_()[sentences.CLAIM_MIME]


def test_a_list_of_sentences_is_chinese() -> None:
    """As notebook 06 prints the advice for Windows."""
    with reading("zh"):
        printed = str(sentences.bullet_list(*WINDOWS))
    assert len(printed.splitlines()) == len(WINDOWS)
    assert all(HAN.search(line) for line in printed.splitlines())


def test_every_text_of_a_figure_is_chinese() -> None:
    with reading("zh"):
        drawn = figures.overview(builders.e1000(), builders.virtio())
    layout = drawn.to_plotly_json()["layout"]
    assert layout["meta"]["title"].startswith("吞吐量、延迟与开销")
    texts = [each["text"] for each in layout["annotations"]]
    texts += list(layout["yaxis"]["ticktext"])
    assert len(texts) > 5
    for text in texts:
        assert not re.search(r"(?:\b[A-Za-z]{2,}\b[ ,]+){3,}", text), text


@pytest.mark.parametrize("path", sorted(HOSTS.glob("*.yaml"))[::6], ids=lambda path: path.stem)
def test_the_doctor_speaks_chinese_of_every_host(path: Path) -> None:
    """Findings are put together of several texts; none of them stays English."""
    diagnosis = judge(readings(Layout(described(path)).facts))
    with reading("zh"):
        for finding in diagnosis.findings:
            for text in (finding.title, finding.cause, finding.fix, finding.observed):
                words = re.sub(r"\S*[\d+]\S*", "", text)  # values that were read
                if len(re.findall(r"\b[a-z]{2,}\b", words)) > 4 and finding.rule != Rule.VF_TRUST:
                    assert HAN.search(_(text)), text


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.label)
def test_every_step_of_a_plan_is_chinese(scheme: Scheme, data: Path) -> None:
    facts = inspect(load(data / "facts" / "embedded.json"), prove_kvm=False)
    plan = scheme.plan(facts, cable=cable_for(scheme))
    with reading("zh"):
        for text in (plan.title, *(step.what for step in plan.steps), *plan.notes):
            assert HAN.search(_(text)), text
        assert "计划：" in str(plan)


@pytest.mark.parametrize(
    ("words", "chinese"),
    [
        (
            ["class", "check", "--help"],
            ("用法：kvmlab class check", "选项", "[默认：1]", "显示帮助"),
        ),
        (["task"], ("命令", "列出任务")),
        (["class", "chek"], ("错误", "没有命令 'chek'。是不是 'check'？")),
        (["task", "check"], ("用 'kvmlab task check -h' 查看帮助。", "缺少参数 'TASK'。")),
        (["run", "--bogus"], ("没有选项 --bogus",)),
        (["class", "check", "--seats", "x"], ("'--seats' 的取值无效：应当是整数",)),
        (["class", "check", "--seats", "0"], ("应当不小于 1",)),
        (["class", "board", "--port"], ("选项 '--port' 需要一个值。",)),
        (["assess", "show", "x"], ("多出了参数（x）",)),
        (["host", "up", "--clock", "x"], ("'x' 不在 'wall', 'virtual' 之中。",)),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_help_and_errors_of_the_command_line_are_chinese(
    words: list[str], chinese: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """Also what the library says that takes the command line apart."""
    answer(["--language", "zh", *words])
    captured = capsys.readouterr()
    printed = "".join((captured.out + captured.err).split("\n"))
    assert all(part in printed for part in chinese), printed
    english = re.compile(r"Usage|Options|Commands|Error|default:|Try |Show this|No such|Missing")
    assert not english.search(printed)
    answer(words)
    captured = capsys.readouterr()
    assert not HAN.search(captured.out + captured.err)


def test_headings_of_tables_on_the_command_line_are_chinese(
    capsys: pytest.CaptureFixture[str],
) -> None:
    answer(["--language", "zh", "task", "list", "02"])
    heading = capsys.readouterr().out.splitlines()[0]
    assert heading.split() == ["任务", "标题", "分钟", "难度", "方式", "状态"]


def test_what_a_notebook_shows_of_threads_and_of_a_refusal_is_chinese() -> None:
    """Objects without figure or table, which a cell prints or ends with."""
    threads = VmThreads(261, (265,), (326, 327), (263, 264))
    assert str(threads) == (
        "QEMU process 261: vCPU 265; vhost workers 326, 327 (threads of QEMU); "
        "other threads 263, 264"
    )
    refused = Attempt(
        PciPassthrough(),
        rule="group-not-viable",
        message="0000:04:00.0 cannot be given away alone: group is not viable. IOMMU group 16 is "
        "shared with 0000:04:00.1 (e1000e): hand all of them over together.",
        todo='Take them from the host as well: PciPassthrough(group="take"); or move the card to a '
        "slot with a group of its own; or use a VF.",
    )
    saved = SavedResults(Path("runs/x"), 2, 18)
    with reading("zh"):
        assert str(threads) == (
            "QEMU 进程 261：vCPU 265；vhost 工作线程 326, 327（QEMU 的线程）；其他线程 263, 264"
        )
        shown = refused._repr_markdown_()
        assert "现在不行" in shown
        assert "不能单独交出" in shown
        assert "IOMMU 组 16" in shown
        assert "或者用 VF" in shown
        assert "保存了 2 个结果（18 次测试）" in saved._repr_markdown_()
        assert "比较的内容是网络功能" in _(f"Compared were {_COMPARED}.")


@pytest.mark.parametrize(
    ("finished", "chinese"),
    [
        ("CPU time a packet, TCP from the VM", "每个数据包的 CPU 时间，从虚拟机发出的 TCP"),
        ("VM exits (npf) a packet, TCP from the VM", "每个数据包的 VM 退出（npf）"),
        ("virtio, QEMU back end : e1000, fully emulated", "virtio，QEMU 后端 : e1000，全虚拟化"),
        (
            "virtio, vhost, 4 of 4 queues : virtio, vhost, 1 of 4 queues",
            "virtio，vhost，4 个队列用 4 个 : virtio，vhost，4 个队列用 1 个",
        ),
        ("iommu group", "IOMMU 组"),
        ("Came up", "启动方式"),
    ],
)
def test_names_of_costs_and_headings_are_chinese(finished: str, chinese: str) -> None:
    with reading("zh"):
        assert chinese in _(finished)


def test_the_progress_of_a_run_is_chinese() -> None:
    """Lines of the host are translated; headings of the notebook stand as they are."""
    lines = io.StringIO()
    with reading("zh"), RunProgress(Console(file=lines)) as progress:
        progress.say("preparing the host")
        (book,) = find_notebooks(["02"], "zh-CN")
        notebook = progress.begin(book, is_alone=False)
        notebook.say("saving the state of the host")
        notebook.cell(3, 64, "打开宿主机", "lab")
    printed = lines.getvalue()
    assert "正在准备宿主机" in printed
    assert f"{book.name}  正在保存宿主机的状态" in printed
    assert "4/64  打开宿主机" in printed
