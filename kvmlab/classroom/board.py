"""The board of a class: a page on loopback that shows seats, tasks, incidents, and who wants help.

It only reads the class's folder. Whoever has the token sees it; the token goes from the address
into a cookie at once, so that no projector shows it.
"""

from __future__ import annotations

import hmac
import re
import secrets
import threading
from contextlib import suppress
from datetime import UTC, datetime
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from kvmlab.classroom import words
from kvmlab.classroom.collection import follow, follows_machines
from kvmlab.classroom.seats import Seat, read_seats
from kvmlab.course.progress import TaskState
from kvmlab.errors import KvmlabError, UsageError, reason_of
from kvmlab.language import LANGUAGES, current_language, known_language, translate
from kvmlab.rendering import template

#: Seconds between two loads of the page.
REFRESH_SEC: Final = 5
#: Longer ago is said in hours.
_MOST_MINUTES: Final = 120
_COOKIE: Final = "kvmlab-board"
_DRAWN: Final = re.compile(r"seed(\d+)-level(\d+)")
_SIGNS: Final = {
    TaskState.UNTOUCHED: "·",
    TaskState.STARTED: "…",
    TaskState.FAILED: "✗",
    TaskState.PASSED: "✓",
    TaskState.SOLVED: "○",
}


def board_page(
    seats: tuple[Seat, ...],
    *,
    language: str = "",
    nonce: str = "",
    base_url: str = "/",
    now: datetime | None = None,
) -> str:
    """Return the board as HTML. Every text of a seat is escaped."""
    language = language or current_language()
    now = now or datetime.now(UTC)

    def ago(time: datetime | None) -> str:
        if time is None:
            return ""
        minutes = max(0, int((now - time).total_seconds() // 60))
        if minutes < _MOST_MINUTES:
            return words.MINUTES_AGO.format(minutes=minutes).text(language)
        return words.HOURS_AGO.format(hours=round(minutes / 60)).text(language)

    def incident(label: str) -> str:
        """Return what an incident is called: one that was drawn has a seed and a level."""
        drawn = _DRAWN.fullmatch(label)
        if drawn is None:
            return label
        return words.DRAWN.format(seed=drawn[1], level=drawn[2]).text(language)

    return template("kvmlab.classroom", "board.html.j2").render(
        seats=seats,
        incident=incident,
        states=list(TaskState)[1:],
        signs=_SIGNS,
        ago=ago,
        say=lambda name: words.BOARD[name].text(language),
        state_words={state: text.text(language) for state, text in words.STATES.items()},
        language=language,
        languages=tuple(zip(LANGUAGES, ("English", "简体中文"), strict=True)),
        nonce=nonce,
        base_url=base_url,
        refresh_sec=REFRESH_SEC,
        at=f"{now.astimezone():%H:%M}",
        help_count=sum(1 for seat in seats if seat.help_since is not None),
    )


class Board:
    """A server of the board on 127.0.0.1; `serve` runs until `close`.

    Behind JupyterHub ``base_url`` is the service's prefix, and the Hub's proxy the only client.
    ``following`` collects the seats anew: those of this machine at each load, those of others beside
    it, so that nobody waits for a machine that is off.
    """

    def __init__(
        self,
        folder: Path,
        *,
        port: int = 0,
        token: str = "",
        base_url: str = "/",
        language: str = "",
        following: bool = False,
    ) -> None:
        read_seats(folder)  # so that a folder that is none is told now
        self.token = token or secrets.token_urlsafe(24)
        self.base_url = f"/{base_url.strip('/')}/" if base_url.strip("/") else "/"
        handler = type("BoardHandler", (_Handler,), {"board": self})
        try:
            self._server = ThreadingHTTPServer(("127.0.0.1", port), handler)
        except OSError as error:
            raise UsageError(
                f"The board cannot listen on port {port}: {reason_of(error)}.",
                todo="Give another one, or leave --port out: then a free one is taken.",
            ) from error
        self._server.daemon_threads = True
        self._folder = folder
        self._language = language
        self._following = following
        self._closed = threading.Event()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """The address to open, with the token."""
        return f"http://127.0.0.1:{self.port}{self.base_url}?token={self.token}"

    def serve(self) -> None:
        """Answer until `close` is called by another thread, or Ctrl-C comes."""
        if self._following and follows_machines(self._folder):
            threading.Thread(target=self._follow_machines, daemon=True).start()
        self._server.serve_forever()

    def close(self) -> None:
        """End the server."""
        self._closed.set()
        self._server.shutdown()
        self._server.server_close()

    def page(self, language: str, nonce: str) -> str:
        """Return the page as the class's folder is now.

        Raises:
            UsageError: the folder cannot be read any more.
        """
        if self._following:
            follow(self._folder, remote=False)
        return board_page(
            read_seats(self._folder),
            language=language or self._language,
            nonce=nonce,
            base_url=self.base_url,
        )

    def _follow_machines(self) -> None:
        """Ask the machines of seats again and again, while the board is served."""
        while not self._closed.is_set():
            with suppress(KvmlabError):  # the folder: the page says what is wrong with it
                follow(self._folder, remote=True)
            self._closed.wait(REFRESH_SEC)

    def allows_host(self, name: str) -> bool:
        """Return whether a request for that host is for us: pages elsewhere may not read it."""
        return self.base_url != "/" or name.rpartition(":")[0] in ("127.0.0.1", "localhost")


class _Handler(BaseHTTPRequestHandler):
    """Answers GET for the board alone."""

    board: Board
    server_version = "kvmlab"
    sys_version = ""

    def do_GET(self) -> None:
        """Send the page, or the reason why not."""
        address = urlsplit(self.path)
        query = parse_qs(address.query)
        if not self.board.allows_host(self.headers.get("Host", "")):
            self._send(403, "This board is read at 127.0.0.1 only.")
        elif address.path != self.board.base_url:
            self._send(404, "There is nothing here.")
        elif self._is_token(query.get("token", [""])[0]):
            self._send(303, "", Location=self.board.base_url, Set_Cookie=self._cookie())
        elif not self._is_token(self._cookie_value()):
            self._send(403, "Open the address that `kvmlab class board` has printed.")
        else:
            self._send_page(query.get("language", [""])[0])

    def log_message(self, format: str, *args: Any) -> None:
        """Keep no log: nobody asked for one."""

    def _send_page(self, language: str) -> None:
        nonce = secrets.token_urlsafe(12)
        try:
            page = self.board.page(known_language(language), nonce)
        except KvmlabError as error:
            self._send(500, error.message)
            return
        policy = (
            f"default-src 'none'; style-src 'nonce-{nonce}'; base-uri 'none'; form-action 'none'; "
            "frame-ancestors 'none'"
        )
        self._send(200, page, "text/html", Content_Security_Policy=policy)

    def _send(self, code: int, text: str, kind: str = "text/plain", **headers: str) -> None:
        data = f"{translate(text) if kind == 'text/plain' else text}\n".encode()
        self.send_response(code)
        usual = {
            "Content-Type": f"{kind}; charset=utf-8",
            "Content-Length": str(len(data)),
            "Cache-Control": "no-store",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        }
        for name, value in (usual | {k.replace("_", "-"): v for k, v in headers.items()}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def _cookie(self) -> str:
        return (
            f"{_COOKIE}={self.board.token}; Path={self.board.base_url}; HttpOnly; SameSite=Strict"
        )

    def _cookie_value(self) -> str:
        try:
            cookie = SimpleCookie(self.headers.get("Cookie", "")).get(_COOKIE)
        except CookieError:
            return ""
        return cookie.value if cookie is not None else ""

    def _is_token(self, text: str) -> bool:
        return hmac.compare_digest(text.encode(), self.board.token.encode())
