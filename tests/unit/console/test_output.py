"""What lists look like."""

import pytest

from forebay.console.terminal import output
from forebay.console.terminal.output import show

#: As `forebay parked list` has them.
PARKED = {
    "portal": "a-customer-of-ours.bitrix24.com",
    "partition": 11,
    "group": "forebay",
    "reason": "failing",
    "records": 1_234,
    "since": "2026-11-30T06:03:52.698000Z",
    "next_due": "2026-11-30T06:06:57.263000Z",
    "error": "the token has expired " * 10,
    "error_class": "my_handlers.errors.TokenExpired",
    "held": False,
}


def test_a_long_list_has_a_line_for_each_row_however_much_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    show([{"id": number, "error": "e" * number, "at": None} for number in range(1, 601)], as_json=False)

    head, first, *_, last = lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 601
    assert (head, first) == (f"id   {'error':60}  at", f"1    {'e':60}  -")
    assert last == f"600  {'e' * 600}  -"


@pytest.mark.parametrize("columns", [20, 60, 80, 120, 160, 240])
def test_what_is_copied_into_the_next_command_is_whole_on_any_terminal(
    columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "on_terminal", lambda stream: True)
    monkeypatch.setenv("COLUMNS", str(columns))

    show([PARKED] * 3, as_json=False)

    shown = capsys.readouterr().out
    assert "\N{HORIZONTAL ELLIPSIS}" not in shown
    for name in ("portal", "since", "next_due", "error_class"):
        assert shown.count(str(PARKED[name])) == 3, name
    assert shown.count("expired") == 30


def test_a_table_folds_only_what_is_long(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "on_terminal", lambda stream: True)
    monkeypatch.setenv("COLUMNS", "110")

    show([{"id": "0123456789" * 4, "error": "no stock of it " * 10}], as_json=False)

    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 110
    assert [line[:40].strip() for line in lines] == ["id", "0123456789" * 4, *[""] * (len(lines) - 2)]
