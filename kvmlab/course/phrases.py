"""Words of cards, questions, predictions and the command line, in both languages."""

from __future__ import annotations

from typing import Final

from kvmlab.course.bilingual import Bilingual
from kvmlab.course.progress import TaskState
from kvmlab.course.task import Difficulty, Practice

START: Final = Bilingual("Start", "开始")
CHECK: Final = Bilingual("Check", "检查")
HINT: Final = Bilingual("Hint", "提示")
HINTS: Final = Bilingual("Hints so far:", "到目前为止的提示：")
SOLVE: Final = Bilingual("Solve", "解答")
RESET: Final = Bilingual("Reset", "还原")
ANSWER: Final = Bilingual("answer", "答案")
MINUTES: Final = Bilingual("{minutes} min", "{minutes} 分钟")
WORKING: Final = Bilingual("Working …", "处理中……")
STARTED: Final = Bilingual(
    "Started. Work in a shell on the host (`kvmlab host ssh`), then press Check.",
    "已开始。请在宿主机的 shell（`kvmlab host ssh`）里操作，然后按“检查”。",
)
STARTED_TO_ANSWER: Final = Bilingual(
    "Started. Find the answer, enter it, then press Check.", "已开始。找到答案，填好后按“检查”。"
)
PASSED: Final = Bilingual("Passed.", "通过。")
NOT_YET: Final = Bilingual("Not yet:", "还没有完成：")
NO_MORE_HINTS: Final = Bilingual(
    "There are no more hints; Solve shows the solution.", "没有更多提示了；“解答”会给出做法。"
)
SOLUTION: Final = Bilingual("The solution, done on the host:", "做法，已在宿主机上执行：")
TRAINS: Final = Bilingual("What it trains: {what}", "练习内容：{what}")
RIGHT_ANSWER: Final = Bilingual("The answer: {answer}", "答案：{answer}")
WAS_RESET: Final = Bilingual("The host is as it was before.", "宿主机已恢复原样。")
IN_TERMINAL: Final = Bilingual(
    "In JupyterLab this card has buttons. In a terminal: `kvmlab task start {task}`, then `check`, `hint`, `solve`, `reset`.",
    "在 JupyterLab 里，这张卡片有按钮。在终端里：`kvmlab task start {task}`，之后是 `check`、`hint`、`solve`、`reset`。",
)
WANT_HELP: Final = Bilingual("Ask for help", "请求帮助")
HELP_WANTED: Final = Bilingual("Help is wanted", "已请求帮助")
TASKS_OF: Final = Bilingual(
    "Tasks of notebook {notebook}: {count}, about {minutes} minutes",
    "{notebook} 篇的任务：{count} 个，约 {minutes} 分钟",
)
INTERRUPTED: Final = Bilingual(
    "Interrupted. Reset puts the host back.", "已中断。“还原”会恢复宿主机。"
)

PRACTICE: Final = {
    Practice.SHELL: Bilingual("in a shell on the host", "在宿主机的 shell 里"),
    Practice.MEASUREMENT: Bilingual("measured", "测量"),
    Practice.READING: Bilingual("read", "查看"),
}
DIFFICULTY: Final = {
    Difficulty.EASY: Bilingual("easy", "容易"),
    Difficulty.MEDIUM: Bilingual("medium", "中等"),
    Difficulty.HARD: Bilingual("hard", "较难"),
}
STATE: Final = {
    TaskState.UNTOUCHED: Bilingual("", ""),
    TaskState.STARTED: Bilingual("started", "已开始"),
    TaskState.FAILED: Bilingual("not yet", "还没有完成"),
    TaskState.PASSED: Bilingual("passed", "通过"),
    TaskState.SOLVED: Bilingual("solution shown", "看过解答"),
}
