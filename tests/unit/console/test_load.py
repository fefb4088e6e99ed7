"""The load against a server of the test's own."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import islice
from random import Random
from urllib.parse import parse_qsl

import pytest

from forebay.console.errors import WrongUsage
from forebay.console.traffic.connection import Connection, Target, target_of
from forebay.console.traffic.load import Load, Plan, draws
from forebay.console.traffic.report import Report, percentiles_ms
from forebay.console.traffic.simulated import SEQUENCE_PATH, Bodies
from tests.serving import serving

Respond = Callable[[dict[str, str]], Awaitable[bytes | None]]
ACCEPTED = b'{"status":"accepted","id":"%b"}'


@asynccontextmanager
async def server(respond: Respond) -> AsyncIterator[Target]:
    """Answers each body with what `respond` gives; None hangs up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                answer = await respond(dict(parse_qsl((await reader.readexactly(length)).decode(), True)))
                if answer is None:
                    break
                writer.write(answer)
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()

    async with serving(serve) as port:
        yield target_of(f"http://127.0.0.1:{port}/bitrix24")


def http(body: bytes, status: bytes = b"200 OK", more: bytes = b"") -> bytes:
    return b"HTTP/1.1 %b\r\nContent-Length: %d\r\n%b\r\n%b" % (status, len(body), more, body)


def accepted(fields: dict[str, str]) -> bytes:
    return http(ACCEPTED % f"{fields['auth[domain]']}/{fields[SEQUENCE_PATH]}".encode())


def a_load(target: Target, portals: int, **plan: object) -> Load:
    made = {"count": 100, "rate": None, "concurrency": 8, "zipf": None, **plan}
    return Load(Plan(**made), target, Bodies(portals, "t", Random(1)), Random(1))  # type: ignore[arg-type]


@pytest.mark.parametrize("zipf", [None, 1.2])
async def test_a_portal_sends_its_next_event_after_the_answer_to_the_one_before(zipf: float | None) -> None:
    under_way: Counter[str] = Counter()
    order: dict[str, list[int]] = {}

    async def respond(fields: dict[str, str]) -> bytes:
        portal = fields["auth[domain]"]
        under_way[portal] += 1
        assert under_way[portal] == 1
        order.setdefault(portal, []).append(int(fields[SEQUENCE_PATH]))
        await asyncio.sleep(0)
        under_way[portal] -= 1
        return accepted(fields)

    async with server(respond) as target:
        load = a_load(target, portals=10, count=300, zipf=zipf)
        await load.run()

    assert load.outcome.answers == {"200 accepted": 300}
    assert sum(map(len, order.values())) == len(load.outcome.accepted) == 300
    assert all(numbers == list(range(1, len(numbers) + 1)) for numbers in order.values())


async def test_every_answer_is_counted_by_what_it_says() -> None:
    answers = [
        http(b'{"error":"not_our_portal"}', b"403 Forbidden"),
        http(b'{"status":"quarantined","id":"x"}'),
        http(b"<html>", b"502 Bad Gateway"),
        http(b"[]"),
        None,
        b"nonsense\r\n\r\n",
        http(ACCEPTED % b"id-1", more=b"Connection: close\r\n"),
        http(ACCEPTED % b"id-2"),
    ]

    async def respond(_: dict[str, str]) -> bytes | None:
        return answers.pop(0)

    async with server(respond) as target:
        load = a_load(target, portals=1, count=8, concurrency=1)
        await load.run()

    told = Counter({text.partition(":")[0]: n for text, n in load.outcome.answers.items()})
    assert told["403 not_our_portal"] == told["200 quarantined"] == told["502 (not in our words)"] == 1
    assert load.outcome.answers["no answer: closed without an answer"] == 1
    assert sum("not HTTP" in text for text in load.outcome.answers) == 1
    assert load.outcome.accepted == {"id-1": (0, 7), "id-2": (0, 8)}
    assert not Report(count=8, outcome=load.outcome, audit=None).good


async def test_a_server_that_is_not_there_is_an_answer_too() -> None:
    async with server(lambda _: asyncio.sleep(0, b"")) as target:
        pass

    answer = await Connection(target).post(b"a=1")

    assert (answer.status, answer.body) == (0, b"connection refused")


async def test_a_rate_spreads_the_events() -> None:
    now, slept = [0.0], []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    async def respond(fields: dict[str, str]) -> bytes:
        return accepted(fields)

    async with server(respond) as target:
        load = a_load(target, portals=5, count=20, concurrency=1, rate=10.0)
        await load.run(clock=lambda: now[0], sleep=sleep)

    assert sum(slept) == pytest.approx(1.9)
    assert load.outcome.seconds == pytest.approx(1.9)


def test_zipf_gives_the_first_portals_more_and_even_gives_all_the_same() -> None:
    even = Counter(islice(draws(10, None, Random(1)), 1000))
    skewed = Counter(islice(draws(10, 1.0, Random(1)), 10_000))

    assert set(even.values()) == {100}
    assert skewed[0] > 1.5 * skewed[1] > 1.5 * skewed[3] > 0


def test_percentiles_are_of_what_was_measured() -> None:
    assert percentiles_ms([]) == {}
    assert percentiles_ms([0.001]) == {"p50": 1.0, "p90": 1.0, "p99": 1.0, "max": 1.0}
    assert percentiles_ms([n / 1000 for n in range(101)]) == {"p50": 50.0, "p90": 90.0, "p99": 99.0, "max": 100.0}


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "ftp://a/b", "http://", "http://h:99999/", "http://[::1"])
def test_a_url_that_is_none_is_told_with_an_example(url: str) -> None:
    with pytest.raises(WrongUsage, match="should look like http"):
        target_of(url)


def test_a_target_keeps_path_query_and_port() -> None:
    target = target_of("https://hooks.example/b24/secret?x=1")

    assert (target.host, target.port, target.tls) == ("hooks.example", 443, True)
    assert target.head.startswith(b"POST /b24/secret?x=1 HTTP/1.1\r\nHost: hooks.example\r\n")
