"""The board in a browser: three seats, both languages, light and dark; and who may read it."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kvmlab.classroom import Board, board_page, read_seats
from tests.classroom.builders import NOW, class_folder, line, served

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    """Yield the board of a class of three."""
    with served(Board(class_folder(tmp_path / "class"))) as board:
        yield board


def status_of(address: str, **headers: str) -> int:
    request = urllib.request.Request(address, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_only_the_token_opens_it(board: Board) -> None:
    plain = f"http://127.0.0.1:{board.port}/"
    assert status_of(plain) == 403
    assert status_of(f"{plain}?token=wrong") == 403
    cookie = f"kvmlab-board={board.token}"
    assert status_of(plain, Cookie=cookie) == 200
    assert status_of(plain, Cookie=cookie, Host="evil.example") == 403
    assert status_of(f"{plain}../sources.json", Cookie=cookie) == 404


def test_names_are_escaped(tmp_path: Path) -> None:
    (seat, *_) = read_seats(class_folder(tmp_path))
    evil = replace(seat, name="<script>alert(1)</script>", help_with="<img src=x>")
    page = board_page((evil,), now=NOW)
    assert "<script" not in page
    assert "<img" not in page
    assert "&lt;script&gt;" in page


@pytest.mark.parametrize(
    ("scheme", "language", "words"),
    [
        ("light", "en", ("wants help", "at work", "12 min")),
        ("dark", "zh-CN", ("需要帮助 · 02-1", "进行中", "种子 7，2 级 ✓ 12 分钟")),
    ],
)
def test_three_seats_in_a_browser(
    board: Board, browser: Browser, scheme: str, language: str, words: tuple[str, ...]
) -> None:
    context = browser.new_context(color_scheme=scheme, viewport={"width": 1280, "height": 720})  # type: ignore[arg-type]
    page = context.new_page()
    problems: list[str] = []
    requested: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    page.on(
        "request",
        lambda request: problems.append(request.url) if "127.0.0.1" not in request.url else None,
    )
    page.goto(board.url)
    assert "token" not in page.url
    page.goto(f"http://127.0.0.1:{board.port}/?language={language}")
    text = page.inner_text("body")
    assert all(word in text for word in words), text
    rows = page.locator("tbody tr")
    assert rows.count() == 3
    assert "张伟" in rows.nth(0).inner_text()
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert colour == ("rgb(246, 247, 249)" if scheme == "light" else "rgb(18, 23, 29)")
    overflow = page.evaluate("document.documentElement.scrollWidth > innerWidth")
    assert not overflow
    assert problems == []
    assert all(url.startswith("http://127.0.0.1:") for url in requested)
    context.close()


def test_it_follows_a_seat(tmp_path: Path, browser: Browser) -> None:
    from kvmlab.classroom import collect

    source = tmp_path / "alice.jsonl"
    source.write_text(line(9, "02-1", "start") + "\n")
    folder = tmp_path / "class"
    collect(folder, {"alice": source})
    with served(Board(folder, following=True, base_url="/services/board/")) as board:
        page = browser.new_page()
        page.goto(board.url)
        assert page.url.endswith("/services/board/")
        assert "02-1 …" in page.inner_text("tbody")
        with source.open("a") as file:
            file.write(line(1, "02-1", "check", result="passed") + "\n")
        page.reload()
        assert "02-1 ✓" in page.inner_text("tbody")
        page.close()
