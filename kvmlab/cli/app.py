"""The command `kvmlab`: all groups of commands, errors as sentences, exit codes by their kind."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Sequence
from typing import Annotated, Final, NoReturn

import typer

from kvmlab import __version__
from kvmlab.cli import (
    assessment,
    atlas,
    bundle,
    changes,
    classroom,
    fleet,
    host,
    incident,
    inspect,
    measure,
    migrate,
    run,
    runs,
    task,
)
from kvmlab.cli.group import CommandGroup, use_words_of_language
from kvmlab.cli.output import print_error, print_line, print_notice
from kvmlab.cli.parameters import Language
from kvmlab.errors import EXIT_OK, KvmlabError
from kvmlab.hosts.ssh import INSECURE_HOST_KEYS
from kvmlab.language import ENGLISH, current_language, parse_language, process_language

#: What the command calls itself, however it was started.
NAME: Final = "kvmlab"
_LANGUAGE: Final = "--language"

app = CommandGroup(NAME)
_GROUPS: Final = (
    run,
    measure,
    atlas,
    inspect,
    changes,
    migrate,
    host,
    task,
    assessment,
    incident,
    classroom,
    runs,
    fleet,
    bundle,
)
for group in _GROUPS:
    app.add_typer(group.commands)


def _print_version(requested: bool) -> None:
    if requested:
        print_line(f"{NAME} {__version__}")
        raise typer.Exit


@app.callback()
def top(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print it.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
    language: Language = "",
    insecure_host_keys: Annotated[
        bool,
        typer.Option(
            "--insecure-host-keys",
            help="Let your ssh configuration decide whether host keys are checked.",
        ),
    ] = False,
) -> None:
    """Inspect a KVM host, apply network schemes to a VM, measure and plot them."""
    if insecure_host_keys:
        # Kernels of notebooks inherit it.
        os.environ[INSECURE_HOST_KEYS] = "yes"
        print_notice("Host keys of ssh are checked only as your own configuration says.")


def answer(words: Sequence[str]) -> int:
    """Run the command that ``words`` are and return its exit code; errors go to stderr.

    ``--language`` may stand anywhere, and help and errors are in that language as well.
    """
    try:
        rest, language = _without_language(words)
        # JSON is for programs, and has no language.
        shown = ENGLISH if "--json" in rest else parse_language(language or current_language())
    except KvmlabError as error:
        print_error(error)
        return error.exit_code
    with process_language(shown):
        use_words_of_language()
        return _answered(rest)


def _without_language(words: Sequence[str]) -> tuple[list[str], str]:
    """Return the words without the option for the language, and its value; the last one counts."""
    rest: list[str] = []
    language = ""
    for index, word in enumerate(words):
        if word == "--":
            return [*rest, *words[index:]], language
        if word.startswith(f"{_LANGUAGE}="):
            language = word.partition("=")[2]
        elif index and words[index - 1] == _LANGUAGE:
            language = word
        elif word != _LANGUAGE or index + 1 == len(words):
            rest.append(word)
    return rest, language


def _answered(words: Sequence[str]) -> int:
    try:
        app(list(words), prog_name=NAME)
    except KvmlabError as error:
        if "--debug" in words:
            raise
        print_error(error)
        return error.exit_code
    except SystemExit as end:
        if isinstance(end.code, int | None):
            return end.code or EXIT_OK
        raise
    return EXIT_OK


def _terminate(number: int, _frame: object) -> NoReturn:
    """End as on Ctrl-C: what was changed is put back first."""
    raise SystemExit(128 + number)


def main() -> NoReturn:
    """Run the command line of this process; SIGTERM and SIGHUP clean up as Ctrl-C does."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # So a script's background jobs begin; an interrupt must put the host back there as well.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _terminate)
    signal.signal(signal.SIGHUP, _terminate)
    for stream in (sys.stdout, sys.stderr):
        # A locale without µ, … or Chinese shows them as escapes; no command fails for that.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.exit(answer(sys.argv[1:]))
