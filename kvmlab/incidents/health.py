"""The health of a VM's network, as its user notices it: pings, downloads, and what it serves."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from kvmlab.course.bilingual import Bilingual
from kvmlab.errors import OutputError
from kvmlab.hosts import run_script, script_text

if TYPE_CHECKING:
    from kvmlab.incidents.fault import FaultSite

#: Size of the file that is fetched, in MiB, and how often a probe fetches it.
FILE_MIB: Final = 16
_FETCHES: Final = 3
#: Real seconds for one measurement, and seconds of the VM's clock for one transfer.
_WALL_SEC: Final = 120
_TRANSFER_SEC: Final = 3
_HOST_FOLDER: Final = "/run/kvmlab-peer"
_GUEST_FOLDER: Final = "/run/kvmlab-web"
#: Part of the speed before that is healthy again, and multiple of the round trip before.
_SPEED: Final = 0.75
_ROUND_TRIP: Final = 3.0
_ROUND_TRIP_MS: Final = 1.5


class Effect(StrEnum):
    """Something that a user of the VM notices, and a measurement shows."""

    UNREACHABLE = "unreachable"
    LOSS = "loss"
    LARGE_LOST = "large-lost"
    SLOW_ROUND_TRIP = "slow-round-trip"
    SLOW_DOWNLOAD = "slow-download"
    SLOW_UPLOAD = "slow-upload"


_PARTS: Final = {
    Effect.UNREACHABLE: "ping",
    Effect.LOSS: "ping",
    Effect.LARGE_LOST: "large",
    Effect.SLOW_ROUND_TRIP: "ping",
    Effect.SLOW_DOWNLOAD: "download",
    Effect.SLOW_UPLOAD: "upload",
}
ALL_PARTS: Final = ("ping", "large", "download", "upload")


@dataclass(frozen=True)
class Health:
    """One measurement; None for what was not measured.

    Losses are in percent of the pings, the round trip is their mean in ms, speeds are in MiB/s; 0
    is a transfer that did not end.
    """

    loss: float | None = None
    round_trip_ms: float | None = None
    large_loss: float | None = None
    download: float | None = None
    upload: float | None = None

    def effects(self, healthy: Health) -> tuple[Effect, ...]:
        """Return what is worse than it was in ``healthy``, beyond what chance explains."""
        seen: list[Effect] = []
        if self.loss is not None:
            if self.loss == 100:
                seen.append(Effect.UNREACHABLE)
            elif self.loss > 0:
                seen.append(Effect.LOSS)
        if self.large_loss and self.loss != 100:
            seen.append(Effect.LARGE_LOST)
        if self.round_trip_ms is not None:
            usual = healthy.round_trip_ms or 0.0
            if self.round_trip_ms > max(_ROUND_TRIP * usual, usual + _ROUND_TRIP_MS):
                seen.append(Effect.SLOW_ROUND_TRIP)
        for effect, now, before in (
            (Effect.SLOW_DOWNLOAD, self.download, healthy.download),
            (Effect.SLOW_UPLOAD, self.upload, healthy.upload),
        ):
            if now is not None and before and now < _SPEED * before and self.loss != 100:
                seen.append(effect)
        return tuple(seen)

    def sentences(self, healthy: Health) -> tuple[Bilingual, ...]:
        """Return a sentence for each effect, with the figures of now and before."""
        return tuple(self._sentence(effect, healthy) for effect in self.effects(healthy))

    def _sentence(self, effect: Effect, healthy: Health) -> Bilingual:
        texts = {
            Effect.UNREACHABLE: Bilingual(
                "The VM does not reach the peer: no ping is answered.",
                "虚拟机无法到达对端：没有任何 ping 得到应答。",
            ),
            Effect.LOSS: Bilingual("{loss:g} % of the pings are lost.", "{loss:g}% 的 ping 丢失。"),
            Effect.LARGE_LOST: Bilingual(
                "Pings of 1400 bytes are lost ({large_loss:g} %), small ones are not.",
                "1400 字节的 ping 丢失（{large_loss:g}%），小包正常。",
            ),
            Effect.SLOW_ROUND_TRIP: Bilingual(
                "A round trip takes {round_trip:.2f} ms; it took {usual:.2f} ms before.",
                "往返时间为 {round_trip:.2f} ms；此前为 {usual:.2f} ms。",
            ),
            Effect.SLOW_DOWNLOAD: Bilingual(
                "A download runs at {download:.0f} MiB/s; it was {down_before:.0f} MiB/s before.",
                "下载速度为 {download:.0f} MiB/s；此前为 {down_before:.0f} MiB/s。",
            ),
            Effect.SLOW_UPLOAD: Bilingual(
                "The VM serves files at {upload:.0f} MiB/s; it was {up_before:.0f} MiB/s before.",
                "虚拟机对外提供文件的速度为 {upload:.0f} MiB/s；此前为 {up_before:.0f} MiB/s。",
            ),
        }
        return texts[effect].format(
            loss=self.loss or 0.0,
            large_loss=self.large_loss or 0.0,
            round_trip=self.round_trip_ms or 0.0,
            usual=healthy.round_trip_ms or 0.0,
            download=self.download or 0.0,
            down_before=healthy.download or 0.0,
            upload=self.upload or 0.0,
            up_before=healthy.upload or 0.0,
        )


class Prober:
    """Measures the health of a site; its two web servers run from `start` to `stop`.

    A transfer that takes longer than ``transfer_sec`` seconds of the VM's clock does not end.
    """

    def __init__(self, site: FaultSite, *, transfer_sec: int = _TRANSFER_SEC) -> None:
        self._site = site
        self._transfer_sec = transfer_sec

    def start(self) -> None:
        """Start the servers at the peer and in the VM, and fetch once from each.

        The first transfer of a new NIC is a fifth slower than those after it: as the measure of
        what is healthy it would hide a fault.
        """
        self._serve("start")
        self.measure((Effect.SLOW_DOWNLOAD, Effect.SLOW_UPLOAD))

    def stop(self) -> None:
        """End the servers, and remove their files."""
        self._serve("stop")

    def measure(self, effects: Sequence[Effect] = tuple(Effect)) -> Health:
        """Measure what shows these effects; it takes about two seconds, more where it is bad.

        Raises:
            GuestCommandFailed, AgentTimeout, CommandFailed: it could not be measured.
        """
        parts = [part for part in ALL_PARTS if any(_PARTS[effect] == part for effect in effects)]
        site = self._site
        inside = [part for part in parts if part != "upload"]
        self._settle()
        text = ""
        if inside:
            text = site.lab.vm.agent.run(
                ("sh", "-s", "--", site.peer_address, str(self._transfer_sec), *inside),
                timeout_sec=_WALL_SEC,
                input_text=script_text("kvmlab.incidents", "probe_guest.sh"),
            ).stdout
        health = parse_health(text)
        if "upload" not in parts or health.loss == 100:
            return health
        text += run_script(
            site.lab.host.runner,
            "kvmlab.incidents",
            "probe_peer.sh",
            site.peer_netns,
            site.vm_address,
            str(self._transfer_sec),
            timeout_sec=_WALL_SEC,
            root=True,
        ).stdout
        return parse_health(text)

    def _settle(self) -> None:
        site = self._site
        run_script(
            site.lab.host.runner,
            "kvmlab.incidents",
            "settle.sh",
            *(site.port, site.peer_netns, site.peer_port),
            timeout_sec=_WALL_SEC,
            root=True,
        )

    def _serve(self, mode: str) -> None:
        site = self._site
        run_script(
            site.lab.host.runner,
            "kvmlab.incidents",
            "serve.sh",
            *(mode, site.peer_netns, site.peer_address, _HOST_FOLDER, str(FILE_MIB)),
            timeout_sec=_WALL_SEC,
            root=True,
        )
        site.lab.vm.agent.run(
            ("sh", "-s", "--", mode, site.vm_address, _GUEST_FOLDER, str(FILE_MIB)),
            timeout_sec=_WALL_SEC,
            input_text=script_text("kvmlab.incidents", "serve_guest.sh"),
        )


def parse_health(text: str) -> Health:
    """Parse what the two probes print.

    ::

        ping 20 packets transmitted, 20 packets received, 0% packet loss
        ping round-trip min/avg/max = 0.121/0.141/0.164 ms
        large 4 packets transmitted, 4 packets received, 0% packet loss
        download 141.32 141.67
        upload 378000000

    A part without a line was not measured; pings that could not even be sent are all lost.

    Raises:
        OutputError: a line of another shape.
    """
    mean = re.search(r"^ping .*= [\d.]+/([\d.]+)/", text, re.MULTILINE)
    download = re.search(r"^download ([\d.]+) ([\d.]+)$", text, re.MULTILINE)
    upload = re.search(r"^upload (\d+)$", text, re.MULTILINE)
    if "download" in text and download is None:
        raise OutputError("The speed of a download could not be parsed.", evidence=text[:2000])
    try:
        return Health(
            loss=_loss("ping", text),
            round_trip_ms=float(mean[1]) if mean else None,
            large_loss=_loss("large", text),
            download=_speed(float(download[2]) - float(download[1])) if download else None,
            upload=_speed(int(upload[1]) / 1e9) if upload else None,
        )
    except (ValueError, OverflowError) as error:
        raise OutputError(
            f"What the probes of the VM print could not be parsed: {error}.", evidence=text[:2000]
        ) from error


def _loss(part: str, text: str) -> float | None:
    loss = re.search(rf"^{part} .*?(\d+)% packet loss", text, re.MULTILINE)
    if loss is not None:
        return float(loss[1])
    return 100.0 if re.search(rf"^{part} ", text, re.MULTILINE) else None


def _speed(seconds: float) -> float:
    return _FETCHES * FILE_MIB / seconds if seconds > 0 else 0.0
