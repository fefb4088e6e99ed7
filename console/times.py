"""Points in time as people write them, and as the commands print them."""

import re
from datetime import UTC, datetime, timedelta
from typing import overload

from .errors import WrongUsage

_AGO = re.compile(r"-(\d+(?:\.\d+)?)([smhd])")
_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def parse_time(text: str, now: datetime) -> datetime:
    """ISO 8601 (without a zone: this machine's), or how long ago: `-90s`, `-15m`, `-2h`, `-7d`."""
    try:
        if ago := _AGO.fullmatch(text):
            return now - timedelta(seconds=float(ago[1]) * _UNIT_S[ago[2]])
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise WrongUsage(f"{text!r} is no time; write 2026-03-01T12:00:00, or -15m for 15 minutes ago") from None


@overload
def parse_span(since: str, until: str, now: datetime, *, begin: str = ...) -> tuple[datetime, datetime]: ...


@overload
def parse_span(
    since: str | None, until: str | None, now: datetime, *, begin: str = ...
) -> tuple[datetime | None, datetime | None]: ...


def parse_span(
    since: str | None, until: str | None, now: datetime, *, begin: str = "--since"
) -> tuple[datetime | None, datetime | None]:
    """From when on, and before when; what is not given is open. Raises `WrongUsage` when nothing can be in between."""
    first, last = (parse_time(text, now) if text is not None else None for text in (since, until))
    if first is not None and last is not None and first >= last:
        raise WrongUsage(f"{begin} {since} is not before --until {until}")
    return first, last


def iso(at: datetime | None) -> str | None:
    """ISO 8601 in UTC with a Z."""
    return None if at is None else at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def from_ms(timestamp_ms: int) -> datetime:
    """Milliseconds since the epoch as a time in UTC."""
    return datetime.fromtimestamp(timestamp_ms / 1000, UTC)


def to_ms(at: datetime) -> int:
    """A time as milliseconds since the epoch."""
    return round(at.timestamp() * 1000)


def utc_now() -> datetime:
    """Now, in UTC."""
    return datetime.now(UTC)
