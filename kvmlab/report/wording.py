"""The words of a report's own frame, by language; what notebooks printed stays as it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


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
)
_ALL = {wording.language: wording for wording in (ENGLISH, CHINESE)}


def wording(language: str) -> Wording:
    """The words in ``language``; in English where there are none."""
    return _ALL.get(language, ENGLISH)
