"""The form parser against the ways to do the same that were not taken. Prints microseconds and ratios."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from timeit import repeat
from urllib.parse import parse_qsl, unquote_plus

import pytest
from falcon.uri import parse_query_string

from forebay.ingest.form import parse
from forebay.schemas.form import pairs_of

BODIES = Path(__file__).parents[1] / "data" / "bitrix24"
RUNS, REPEATS = 2_000, 5


def _by_hand(body: bytes) -> dict[str, str]:
    """Split by hand, with a cache of decoded names."""
    fields = {}
    for part in body.decode().split("&"):
        name, _, value = part.partition("=")
        fields[_name(name)] = unquote_plus(value) if "%" in value or "+" in value else value
    return fields


@lru_cache(maxsize=8192)
def _name(name: str) -> str:
    return unquote_plus(name)


WAYS: dict[str, Callable[[bytes], object]] = {
    "urllib.parse.parse_qsl": lambda body: dict(parse_qsl(body.decode(), keep_blank_values=True)),
    "split by hand, cached names": _by_hand,
    "falcon.uri.parse_query_string alone": lambda body: parse_query_string(body.decode(), keep_blank=True),
    "form.parse": lambda body: parse(body, 5000),
    "form.pairs_of (irregular forms only)": pairs_of,
}


@pytest.mark.benchmark
@pytest.mark.parametrize("name", ["04_app_oncrmdealupdate_user", "26_onimbotmessageadd_group"])
def test_the_parser_against_the_others(name: str) -> None:
    body = (BODIES / f"{name}.txt").read_bytes()

    times = {way: min(repeat(lambda take=take: take(body), number=RUNS, repeat=REPEATS)) for way, take in WAYS.items()}  # type: ignore[misc]  # the default binds the loop's variable

    slowest = times["urllib.parse.parse_qsl"]
    print(f"\n{name}, {len(body)} bytes, {body.count(b'&') + 1} fields")
    for way, seconds in times.items():
        print(f"  {way:40} {seconds / RUNS * 1e6:8.2f} us  {slowest / seconds:5.1f}x as fast as parse_qsl")
    assert parse(body, 5000).fields == WAYS["urllib.parse.parse_qsl"](body)
