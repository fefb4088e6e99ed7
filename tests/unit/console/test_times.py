from datetime import UTC, datetime, timedelta

import pytest

from forebay.console.errors import WrongUsage
from forebay.console.times import from_ms, iso, parse_span, parse_time, to_ms

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("-90s", NOW - timedelta(seconds=90)),
        ("-15m", NOW - timedelta(minutes=15)),
        ("-1.5h", NOW - timedelta(minutes=90)),
        ("-7d", NOW - timedelta(days=7)),
        ("2026-02-28T10:00:00Z", datetime(2026, 2, 28, 10, tzinfo=UTC)),
        ("2026-02-28T10:00:00+03:00", datetime(2026, 2, 28, 7, tzinfo=UTC)),
        ("2026-02-28", datetime(2026, 2, 28).astimezone(UTC)),
    ],
)
def test_a_time_is_iso_or_how_long_ago(text: str, at: datetime) -> None:
    assert parse_time(text, NOW) == at


@pytest.mark.parametrize("text", ["yesterday", "15m", "-15", "", "-999999999d"])
def test_what_is_no_time_is_told_with_an_example(text: str) -> None:
    with pytest.raises(WrongUsage, match="-15m"):
        parse_time(text, NOW)


def test_times_are_printed_in_utc_and_read_back() -> None:
    assert iso(NOW) == "2026-03-01T12:00:00Z"
    assert iso(None) is None
    assert from_ms(to_ms(NOW)) == NOW


@pytest.mark.parametrize(("since", "until"), [("-1h", "-2h"), ("-1h", "-1h"), ("2026-02-02", "2026-02-01")])
def test_a_span_in_which_nothing_can_be_is_told(since: str, until: str) -> None:
    with pytest.raises(WrongUsage, match=f"--from {since} is not before --until {until}"):
        parse_span(since, until, NOW, begin="--from")


def test_a_span_may_be_open() -> None:
    hour = NOW - timedelta(hours=1)

    assert parse_span("-1h", None, NOW) == (hour, None)
    assert parse_span(None, "-1h", NOW) == (None, hour)
    assert parse_span("-2h", "-1h", NOW) == (NOW - timedelta(hours=2), hour)
