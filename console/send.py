"""`forebay send`: simulated portals, and an honest account of what became of their events."""

import sys
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .errors import FAILED, WrongUsage
from .invocation import invocation

if TYPE_CHECKING:
    from forebay.console.settings import Settings
    from forebay.console.traffic.load import Plan
    from forebay.console.traffic.report import Report


def send(
    context: typer.Context,
    url: Annotated[str | None, typer.Option(help="where to; by default the ingest of the settings")] = None,
    portals: Annotated[int, typer.Option(help="how many portals", min=1)] = 100,
    count: Annotated[int, typer.Option(help="how many events, all together", min=1)] = 1000,
    rate: Annotated[float | None, typer.Option(help="events a second; as fast as it goes without", min=0.001)] = None,
    concurrency: Annotated[int, typer.Option(help="connections", min=1, max=10_000)] = 32,
    zipf: Annotated[float | None, typer.Option(help="some portals send more: Zipf's exponent, 1.1 is usual")] = None,
    file: Annotated[Path | None, typer.Option(help="post this one body as it is", exists=True, dir_okay=False)] = None,
    seed: Annotated[int | None, typer.Option(help="draw the same portals and events each time")] = None,
    token: Annotated[str | None, typer.Option(help="application_token of the simulated portals")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="the report as one object")] = False,
) -> None:
    """Send events as Bitrix24 portals do, and check that each was kept, in the order of its portal."""
    from .masking import masked
    from .running import run
    from .terminal.output import line, note, show_json
    from .traffic.load import Plan

    for name, number in (("rate", rate), ("zipf", zipf)):
        if number is not None and not 0 <= number < inf:
            raise WrongUsage(f"--{name}: {number} should be a number that is not below 0")
    settings = invocation(context).settings()
    if file is not None:
        raise typer.Exit(run(_post(url or address(settings), file.read_bytes(), as_json)))
    plan = Plan(count=count, rate=rate, concurrency=min(concurrency, portals), zipf=zipf)
    report = run(_send(settings, url or address(settings), plan, portals, seed, token))
    if as_json:
        show_json([report.row()])
    else:
        line("\n".join(report.lines()))
    if report.audit and report.audit.lost == len(report.outcome.accepted) > 0:
        queue = masked(settings.queue_url)
        note(f"none of them is there: does {url or 'the ingest'} really fill {settings.topic} in {queue}?")
    raise typer.Exit(0 if report.good else FAILED)


def address(settings: "Settings", *, shows_secret: bool = True) -> str:
    """The URL of the ingest's first endpoint, with its secret if it wants one there."""
    host, port = reachable(settings.bind)
    endpoint = settings.served[0]
    secret = ""
    if endpoint.secret and "tokens" not in endpoint.auth:
        secret = "/" + (endpoint.secret[0].get_secret_value() if shows_secret else "<url_secret>")
    return f"http://{host}:{port}{endpoint.path.rstrip('/')}{secret}"


def reachable(bind: str) -> tuple[str, int]:
    """An address to connect to, for one to listen on."""
    host, _, port = bind.rpartition(":")
    return {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host), int(port)  # noqa: S104 - compared with only


def token_of(settings: "Settings", portal: str = "*") -> str:
    """The token that the first endpoint takes from the portal or from any, or one that means nothing."""
    tokens = settings.served[0].tokens
    listed = tokens.get(portal) or tokens.get("*")
    return listed[0].get_secret_value() if listed else "0123456789abcdef0123456789abcdef"


async def _post(url: str, body: bytes, as_json: bool) -> int:
    from .terminal.output import line, note, show_json
    from .traffic.connection import Connection, target_of

    connection = Connection(target_of(url))
    answer = await connection.post(body)
    connection.close()
    text = answer.body.decode(errors="replace")
    if as_json:
        show_json([{"status": answer.status, "answer": text}])
    elif answer.status == 0:
        note(f"no answer: {text}")
    else:
        line(f"{answer.status} {text}")
    return 0 if answer.status == 200 else FAILED


async def _send(
    settings: "Settings", url: str, plan: "Plan", portals: int, seed: int | None, token: str | None
) -> "Report":
    from random import Random, SystemRandom

    from forebay.schemas.codec import new_codec

    from .decoding import decodable
    from .reading import opened
    from .terminal.progress import progress
    from .traffic.connection import target_of
    from .traffic.load import Load, portal_numbers, watched
    from .traffic.report import Report
    from .traffic.send_audit import Audit, check, noted
    from .traffic.simulated import Bodies

    rng = Random(SystemRandom().getrandbits(64) if seed is None else seed)  # noqa: S311 - simulates, keeps no secret
    bodies = Bodies(portals, token or token_of(settings), rng)
    load = Load(plan, target_of(url), bodies, rng)
    codec = new_codec()
    async with opened(settings) as queue, decodable(settings, queue, codec) as inspector:
        since, unchecked = await noted(queue, inspector, settings.topic)
        await watched(load, plan.count, sys.stderr)
        if since is None:
            return Report(count=plan.count, outcome=load.outcome, audit=None, unchecked=unchecked)
        accepted = load.outcome.accepted
        audit = Audit(accepted=accepted, numbers=portal_numbers(bodies.portals), codec=codec)
        with progress("checking", len(accepted), sys.stderr) as told:
            await check(audit, inspector, settings.topic, since, told=told)
        if audit.unread:
            unchecked = f"the schema ids of {audit.unread:,} records can't be learnt (schema_registry_url)"
            return Report(count=plan.count, outcome=load.outcome, audit=None, unchecked=unchecked)
        return Report(count=plan.count, outcome=load.outcome, audit=audit)
