"""Groups of commands whose help names values (``--out OUT``) and shows flags bare."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import typer
from typer import rich_utils
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from kvmlab.language import ENGLISH, N_, current_language, translate

Function = TypeVar("Function", bound=Callable[..., Any])
#: The error of a command line that cannot be understood, of which typer gives out the child only.
_UsageError: Any = typer.BadParameter.__base__
#: Typer's own words around help and errors, by their names in `typer.rich_utils`.
_WORDS: Final = {
    "ARGUMENTS_PANEL_TITLE": N_("Arguments"),
    "OPTIONS_PANEL_TITLE": N_("Options"),
    "COMMANDS_PANEL_TITLE": N_("Commands"),
    "ERRORS_PANEL_TITLE": N_("Error"),
    "DEFAULT_STRING": N_("[default: {value}]"),
    "ENVVAR_STRING": N_("[env var: {value}]"),
    "REQUIRED_LONG_STRING": N_("[required]"),
    "ABORTED_TEXT": N_("Aborted."),
    "RICH_HELP": N_("Try [blue]'{command_path} {help_option}'[/] for help."),
}


class _NamedValues:
    """Mixed into typer's commands: help without Python's types, in the reader's language."""

    help: str | None

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.help = _in_language(self.help)

    def get_params(self, ctx: Any) -> list[Any]:
        parameters: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for parameter in parameters:
            parameter.help = _in_language(getattr(parameter, "help", None))
            if isinstance(parameter, TyperArgument):
                parameter.display_type_rich = _no_type  # type: ignore[method-assign]
            elif isinstance(parameter, TyperOption) and parameter.metavar is None:
                parameter.metavar = _value_name(parameter)
        return parameters

    def format_usage(self, ctx: Any, formatter: Any) -> None:
        """Write the line with the words that a command takes."""
        pieces = self.collect_usage_pieces(ctx)  # type: ignore[attr-defined]
        formatter.write_usage(ctx.command_path, " ".join(pieces), prefix=translate("Usage: "))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take the words apart; what cannot be understood is said in the reader's language."""
        try:
            rest: list[str] = super().parse_args(ctx, args)  # type: ignore[misc]
        except _UsageError as error:
            raise _in_words(error) from error
        return rest


def use_words_of_language() -> None:
    """Let typer use the words of the reader's language around help and errors, from now on."""
    for name, text in _WORDS.items():
        setattr(rich_utils, name, translate(text).replace("{value}", "{}"))


def _in_words(error: Any) -> Any:
    """Return an error of the command line with its message translated."""
    # The error of a command without words is its help, which is in this language already.
    if current_language() == ENGLISH or type(error).__name__ == "NoArgsIsHelpError":
        return error
    return _UsageError(translate(error.format_message()), ctx=error.ctx)


def _in_language(text: str | None) -> str | None:
    """Translate a help text paragraph by paragraph; typer gives docstrings with their lines."""
    if not text or current_language() == ENGLISH:
        return text
    return "\n\n".join(translate(" ".join(part.split())) for part in text.split("\n\n"))


def _no_type(ctx: Any) -> str:
    return ""


def _value_name(option: TyperOption) -> str | None:
    """Return what stands for an option's value; None leaves a list of choices as it is."""
    if option.is_flag:
        return ""
    return None if option.type_descriptor.is_choice else option.name.upper().replace("_", "-")


class _Command(_NamedValues, TyperCommand):
    pass


class _Group(_NamedValues, TyperGroup):
    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command that the words name."""
        try:
            return super().resolve_command(ctx, args)
        except _UsageError as error:
            raise _in_words(error) from error


class CommandGroup(typer.Typer):
    """Commands that belong together; without a ``name`` they stand beside those of other groups."""

    def __init__(self, name: str | None = None, **settings: Any) -> None:
        super().__init__(
            name=name,
            cls=_Group,
            no_args_is_help=True,
            add_completion=False,
            pretty_exceptions_enable=False,
            rich_markup_mode="rich",
            context_settings={"help_option_names": ["-h", "--help"]},
            **settings,
        )

    def command(self, name: str | None = None, **settings: Any) -> Callable[[Function], Function]:
        """Add the decorated function as a command; without a ``name`` under its own."""
        return super().command(name, cls=_Command, **settings)
