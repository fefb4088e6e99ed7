"""What lists look like."""

import pytest

from forebay.console.output import show


def test_a_long_list_has_a_line_for_each_row_however_much_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    show([{"id": number, "error": "e" * number, "at": None} for number in range(1, 601)], as_json=False)

    head, first, *_, last = lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 601
    assert (head, first) == (f"id   {'error':60}  at", f"1    {'e':60}  -")
    assert last == f"600  {'e' * 600}  -"
