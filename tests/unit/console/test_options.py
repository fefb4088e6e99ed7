"""What a command makes of its options before it does anything."""

import pytest
from typer.testing import CliRunner

from forebay.console.cli import build
from forebay.console.errors import WrongUsage


@pytest.mark.parametrize(
    "command",
    [
        ("dead", "discard", "--yes", "--error"),
        ("dead", "replay", "--yes", "--error", "no stock", "--portal"),
        ("dead", "list", "--event"),
        ("quarantine", "discard", "--yes", "--error"),
        ("replay", "--yes", "--from", "-2h", "--until", "-1h", "--event"),
        ("replay", "--yes", "--from", "-2h", "--until", "-1h", "--portal"),
        ("tail", "--portal"),
        ("lag", "--portal"),
        ("audit", "--portal"),
        ("parked", "list", "--portal"),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("empty", ["", " "])
def test_a_filter_that_a_script_left_empty_does_not_take_everything(command: tuple[str, ...], empty: str) -> None:
    done = CliRunner().invoke(build(), [*command, empty])

    assert isinstance(done.exception, WrongUsage)
    assert str(done.exception).startswith(f"{command[-1]}: ")
