"""The certificate of an assessment that was passed: one page of HTML, light and dark."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from kvmlab.course.assessment import Assessment, notebook_points
from kvmlab.course.bilingual import Bilingual, run_language
from kvmlab.directories import write_named
from kvmlab.errors import UsageError
from kvmlab.rendering import template

_TITLE: Final = Bilingual("kvmlab: certificate", "kvmlab：结业证书")
_SENTENCE: Final = Bilingual(
    "has passed the final assessment on the network of KVM virtual machines on {date}, with {score} of {items} points.",
    "于 {date} 通过了 KVM 虚拟机网络课程的结业测验，得分 {score}，满分 {items}。",
)
_NOTEBOOK: Final = Bilingual("notebook", "篇目")
_POINTS: Final = Bilingual("points", "得分")
_NOTE: Final = Bilingual(
    "Twenty tasks and questions, drawn with the seed {seed}. Tasks were checked on the host: by its XML, its threads, its counters and by measuring. A hint costs a quarter of a point.",
    "二十道任务和问题，抽题种子 {seed}。任务都在宿主机上检查：看 XML、线程和计数器，并且实际测量。每个提示扣四分之一分。",
)
_TITLES: Final = {
    "00": Bilingual("The path of a packet", "数据包走过的路"),
    "01": Bilingual("Full emulation and virtio", "全虚拟化与 virtio"),
    "02": Bilingual("vhost_net and macvtap", "vhost_net 与 macvtap"),
    "03": Bilingual("PCI passthrough", "PCI 直通"),
    "04": Bilingual("SR-IOV", "SR-IOV"),
    "05": Bilingual("Multi-queue", "多队列"),
    "06": Bilingual("Conclusion", "结论"),
    "07": Bilingual("Live migration", "热迁移"),
    "08": Bilingual("Tuning", "调优"),
}


def certificate(assessment: Assessment) -> str:
    """Return the page for an assessment that was passed, in the language of the run.

    Raises:
        UsageError: it is not finished, or was not passed.
    """
    if not assessment.passed:
        if not assessment.finished:
            raise UsageError(
                "The assessment is not finished.",
                todo="Have it scored first: `kvmlab assess finish`.",
            )
        raise UsageError(
            f"The assessment was not passed: {assessment.score:g} of {len(assessment.items)} points, and seven tenths are needed.",
            todo="Begin another one with another seed: `kvmlab assess begin`.",
        )
    rows = [
        (
            f"{number}  {_TITLES[number].text()}" if number in _TITLES else number,
            f"{points:g} / {count}",
        )
        for number, (points, count) in sorted(notebook_points(assessment).items())
    ]
    return template("kvmlab.course", "certificate.html.j2").render(
        language=run_language(),
        title=_TITLE.text(),
        name=assessment.name,
        sentence=_SENTENCE.format(
            date=assessment.finished[:10],
            score=f"{assessment.score:g}",
            items=len(assessment.items),
        ).text(),
        column_notebook=_NOTEBOOK.text(),
        column_points=_POINTS.text(),
        rows=rows,
        note=_NOTE.format(seed=assessment.seed).text(),
    )


def write_certificate(assessment: Assessment, path: Path) -> Path:
    """Write the page to ``path`` and return it.

    Raises:
        UsageError: it was not passed, or the file cannot be written.
    """
    write_named(path, certificate(assessment))
    return path
