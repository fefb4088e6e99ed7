"""What was said before the command's name: where the settings are, and those that every command takes."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import typer

if TYPE_CHECKING:
    from forebay.console.settings import Loaded, Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """The options in front of the command. Settings are read only when a command asks for them."""

    config: Path | None
    options: Mapping[str, object]

    def load(self, **options: object) -> "Loaded":
        """The effective settings and where they came from, with the command's own options over all others."""
        from .settings import load_settings
        from .terminal.logs import set_up_logs

        # From here on somebody may have something to say, which has no place among what the command prints.
        set_up_logs()
        return load_settings(self.config, {**self.options, **options})

    def settings(self, **options: object) -> "Settings":
        """The effective settings alone."""
        return self.load(**options).settings


def invocation(context: typer.Context) -> Invocation:
    """The invocation that the command runs in."""
    return cast(Invocation, context.obj)
