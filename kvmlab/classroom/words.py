"""Words of the board and of the slides, in both languages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from kvmlab.course.bilingual import Bilingual
from kvmlab.course.progress import TaskState

MINUTES_AGO: Final = Bilingual("{minutes} min ago", "{minutes} 分钟前")
HOURS_AGO: Final = Bilingual("{hours} h ago", "{hours} 小时前")
DRAWN: Final = Bilingual("seed {seed}, level {level}", "种子 {seed}，{level} 级")
STATES: Final[Mapping[TaskState, Bilingual]] = {
    TaskState.UNTOUCHED: Bilingual("untouched", "未开始"),
    TaskState.STARTED: Bilingual("at work", "进行中"),
    TaskState.FAILED: Bilingual("check failed", "检查未通过"),
    TaskState.PASSED: Bilingual("passed", "已通过"),
    TaskState.SOLVED: Bilingual("solution shown", "看过解答"),
}
BOARD: Final[Mapping[str, Bilingual]] = {
    "title": Bilingual("kvmlab: the class", "kvmlab：班级"),
    "seat": Bilingual("Seat", "席位"),
    "notebook": Bilingual("Notebook", "笔记本"),
    "tasks": Bilingual("Tasks", "任务"),
    "incidents": Bilingual("Incidents", "故障演练"),
    "last": Bilingual("Last seen", "最近活动"),
    "help": Bilingual("wants help", "需要帮助"),
    "with": Bilingual("with", "关于"),
    "nobody": Bilingual("Nobody wants help.", "没有人需要帮助。"),
    "want": Bilingual("want help", "个席位需要帮助"),
    "wants": Bilingual("wants help", "个席位需要帮助"),
    "seats": Bilingual("seats", "个席位"),
    "empty": Bilingual("No seat was collected yet.", "还没有收集任何席位的进度。"),
    "hints": Bilingual("hints", "提示"),
    "minutes": Bilingual("min", "分钟"),
    "legend": Bilingual(
        "Times of incidents include what hints cost.", "故障演练的用时包含提示的代价。"
    ),
    "as_of": Bilingual("As of", "更新于"),
}
SLIDES: Final[Mapping[str, Bilingual]] = {
    "next": Bilingual("→ or space: next", "→ 或空格：下一页"),
    "of": Bilingual("of", "/"),
    "draw": Bilingual(
        "Draw it first: what is on the way, in which order, and what of it is a program?",
        "先画出来：路上有什么，先后顺序如何，其中哪些是程序？",
    ),
    "compare": Bilingual(
        "What do you expect: which is better, and by what factor? Write down a number.",
        "你预计哪个更好，差几倍？先写下一个数字。",
    ),
    "run": Bilingual("Measured in this run", "本次运行测得"),
}
