"""The words of a report's own frame, by language; what notebooks printed stays as it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kvmlab.clock import Clock


@dataclass(frozen=True)
class Wording:
    """What stands around the notebooks; ``language`` is the page's ``lang``."""

    language: str
    title: str
    contents: str
    show_code: str
    hide_code: str
    code: str
    not_ended: str
    parameters: str
    columns: tuple[str, str, str, str]
    stops: tuple[str, str, str]
    status: Mapping[str, str]
    medians: str
    save: str
    made_by: str
    comma: str
    stop: str
    complete: str
    need_script: str
    facts: Mapping[str, str]
    #: Sentences of the head that kvmlab says in English, and the same here; the rest are names.
    sentences: Mapping[str, str]

    def said(self, text: str) -> str:
        """What kvmlab says of host and clock, as far as there are words for it."""
        for english, here in self.sentences.items():
            text = text.replace(english, here)
        return text


ENGLISH = Wording(
    language="en",
    title="kvmlab: the network of KVM virtual machines",
    contents="Contents",
    show_code="Show all code",
    hide_code="Hide all code",
    code="code",
    not_ended="This run did not come to its end.",
    parameters="Parameters",
    columns=("notebook", "parameter", "value", "meaning"),
    stops=("notebook", "status", "took"),
    status={"waiting": "not reached"},
    medians="Measured data: medians of all trials",
    save="Save every trial as CSV",
    made_by="Made by ",
    comma=", ",
    stop=". ",
    complete="This page is complete in itself: it fetches nothing.",
    need_script="The figures of this page are drawn by a script that is part of it; allow scripts "
    "to see them.",
    facts={},
    sentences={},
)
CHINESE = Wording(
    language="zh-CN",
    title="kvmlab：KVM 虚拟机的网络",
    contents="目录",
    show_code="展开全部代码",
    hide_code="收起全部代码",
    code="代码",
    not_ended="本次运行没有走到终点。",
    parameters="参数",
    columns=("笔记本", "参数", "取值", "含义"),
    stops=("笔记本", "状态", "用时"),
    status={
        "complete": "完成",
        "failed": "失败",
        "interrupted": "中断",
        "running": "运行中",
        "waiting": "未运行",
    },
    medians="测量数据：各项测试的中位数",
    save="将每一次测试保存为 CSV",
    made_by="生成工具：",
    comma="，",
    stop="。",
    complete="本页自成一体，不从网络读取任何内容。",
    need_script="图由页面自带的脚本绘制；请允许运行脚本，否则看不到图。",
    facts={"Host": "宿主机", "Came up": "启动方式", "Clock": "时钟"},
    sentences={
        "Embedded host: a whole KVM host inside one QEMU process, not hardware (": "内嵌宿主机："
        "一个 QEMU 进程里的整台 KVM 宿主机，不是真实硬件（",
        Clock.VIRTUAL.meaning: "虚拟时间：每条指令固定 2 ns，模拟设备不占时间，所有 CPU 的工作累加"
        "在一起；因此数字衡量的是软件路径，不能预测一台服务器的 Gbit/s。",
        Clock.WALL.meaning: "真实时间：真实时钟的秒数，机器同时在忙的其他事情也算在内。",
        "embedded host (": "内嵌宿主机（",
        "virtual clock).": "虚拟时钟）。",
        "wall clock).": "真实时钟）。",
        "virtual clock)": "虚拟时钟）",
        "wall clock)": "真实时钟）",
        "restored from the state saved at": "恢复自保存的状态，保存时间",
    },
)
_ALL = {wording.language: wording for wording in (ENGLISH, CHINESE)}


def wording(language: str) -> Wording:
    """The words in ``language``; in English where there are none."""
    return _ALL.get(language, ENGLISH)
