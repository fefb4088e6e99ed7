"""What the commands of `forebay portals` ask of the registry."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from forebay.ingest.portals.verifier import AppInfo, Claim, Confirmed, Denied, Unavailable, Unknown, Verdict
from forebay.queues.errors import QueueUnavailable
from forebay.queues.portals.facts import SHREDDED
from forebay.queues.portals.members import Member, Pin, Proof, Seen
from forebay.queues.portals.registry import PortalRegistry
from forebay.schemas.portal import BadPortal, member_key, normal_form

from .errors import WrongUsage
from .portal_keys import known_portals
from .reading import opened
from .settings import Settings
from .terminal.output import Row
from .times import from_ms

STATES = ("verified", "waiting", "refused", "left")


@asynccontextmanager
async def known(settings: Settings) -> AsyncIterator[PortalRegistry]:
    """The registry, when it has read everything. Raises `QueueError`."""
    async with opened(settings) as queue, known_portals(queue, settings) as registry:
        yield registry


async def summaries(settings: Settings) -> list[Row]:
    """A row a portal."""
    _, rows = await first(settings, None)
    return rows


async def first(settings: Settings, most: int | None) -> tuple[int, list[Row]]:
    """How many portals there are, and a row of each of the first ones, so many at most."""
    async with known(settings) as registry:
        members = registry.following.book.members.values()
        # Of some nothing is left but that their keys are gone.
        left = [member for member in members if any(key.kind != SHREDDED for key in member.fact_keys())]
        return len(left), [_summary(member) for member in left[:most]]


def _summary(member: Member) -> dict[str, Any]:
    proofs = [pin.proof for pin in member.pins if pin.proof]
    seen = [pin.seen for pin in member.pins if pin.seen and not pin.proof]
    said: list[Proof | Seen] = [*proofs, *seen]
    since = min((one.at_ms for one in said if isinstance(one, Proof) or not proofs), default=None)
    return {
        "member_id": member.id,
        "portal": member.portal,
        "domains": " ".join(_domains(member)),
        "state": _state(member),
        "verified": len(proofs),
        "waiting": len(seen),
        "since": _time(since),
        "keys": " ".join(sorted({one.key_id for one in said})),
        "data_keys": len(member.data_keys),
    }


def _state(member: Member) -> str:
    if member.left:
        return "left"
    if any(pin.proof for pin in member.pins):
        return "verified"
    return "refused" if member.pins and all(pin.seen and pin.seen.refused for pin in member.pins) else "waiting"


def _domains(member: Member) -> list[str]:
    """All that it has had, the first one first; of one that is not verified those that it says it has."""
    proved = [*([member.portal] if member.portal else []), *member.domains]
    return list(dict.fromkeys(proved or [pin.seen.domain for pin in member.pins if pin.seen]))


async def details(settings: Settings, portal: str) -> list[Row]:
    """A row a token of the portal."""
    async with known(settings) as registry:
        member = _found(registry, portal)
        return [_detail(member, pin) for pin in member.pins]


def _detail(member: Member, pin: Pin) -> dict[str, Any]:
    said = pin.proof or pin.seen
    state = "verified" if pin.proof else "refused" if pin.seen and pin.seen.refused else "waiting"
    return {
        "member_id": member.id,
        "portal": member.portal,
        "domains": " ".join(_domains(member)),
        "application": pin.application,
        "state": state,
        "how": pin.proof.how if pin.proof else None,
        "at": _time(said.at_ms if said else None),
        "domain": said.domain if said else None,
        "key": said.key_id if said else None,
        "why": pin.seen.refused if pin.seen and pin.seen.refused and not pin.proof else None,
        "left": _time(dict(member.left).get(pin.application)),
    }


def _found(registry: PortalRegistry, portal: str) -> Member:
    """The portal by its member_id or any of its domains. Raises `WrongUsage` where that is none or several."""
    members = registry.following.book.members
    if portal in members:
        return members[portal]
    try:
        domain = normal_form(portal)
    except BadPortal as error:
        raise WrongUsage(str(error)) from error
    found = [member for member in members.values() if domain in _domains(member)]
    # What a portal that is not verified says of itself must hide no other.
    found = [member for member in found if member.portal] or found
    if len(found) != 1:
        several = f"{len(found)} portals have had this domain: {', '.join(member.id for member in found)}"
        raise WrongUsage(several if found else f"the registry knows no portal {domain}")
    return found[0]


async def add(settings: Settings, application: str, member_id: str, domain: str, token: str) -> None:
    """Let a portal in. Raises `QueueError`."""
    try:
        member_id, domain = member_key(member_id), normal_form(domain)
    except BadPortal as error:
        raise WrongUsage(str(error)) from error
    async with known(settings) as registry:
        await registry.add(application, member_id, token, domain)


async def forget(settings: Settings, portal: str) -> str:
    """Take back what is known of the portal, whose member_id is returned. Raises `QueueError`."""
    async with known(settings) as registry:
        member = _found(registry, portal)
        try:
            await registry.forget(member.id)
        except QueueUnavailable as error:
            # Of one that is forgotten no domain is known any more.
            again = f"`forebay portals forget {member.id}`"
            raise QueueUnavailable(f"{error}; it may be forgotten or not: {again} goes on with it") from error
        return member.id


async def verify(settings: Settings, portal: str | None) -> list[Row]:
    """Ask about what waits, of one portal or of all. A row a token."""
    verifier = AppInfo(settings.oauth_urls)
    async with known(settings) as registry:
        member = _found(registry, portal) if portal else None
        waiting = [pin for pin in registry.following.book.waiting.values() if member in (None, pin.member)]
        return [await _verified(registry, verifier, pin) for pin in waiting]


async def _verified(registry: PortalRegistry, verifier: AppInfo, pin: Pin) -> Row:
    row = {"member_id": pin.member.id, "application": pin.application, "domain": pin.seen.domain if pin.seen else None}
    trial = pin.seen.trial if pin.seen else None
    access_token = registry.keys.unsealed(trial, pin.digest, pin.seen.key_id) if pin.seen and trial else None
    if access_token is None:
        why = (pin.seen and pin.seen.refused) or "nothing is left to verify it with; its next call may bring it"
        return {**row, "outcome": "unknown", "why": why}
    claim = Claim(application=pin.application, member_id=pin.member.id, access_token=access_token)
    verdict = await verifier.verdict(claim)
    await _keep(registry, pin, verdict)
    return {**row, **_told(verdict)}


async def _keep(registry: PortalRegistry, pin: Pin, verdict: Verdict) -> None:
    match verdict:
        case Confirmed(domain=domain):
            await registry.prove(pin.application, pin.member.id, pin.digest, domain, "app.info")
        case Denied(reason=reason):
            await registry.keep_waiting(pin, refused=reason)
        case Unknown():
            await registry.keep_waiting(pin)
        case Unavailable():
            pass


def _told(verdict: Verdict) -> dict[str, Any]:
    match verdict:
        case Confirmed(domain=domain):
            return {"domain": domain, "outcome": "confirmed", "why": None}
        case Denied(reason=reason):
            return {"outcome": "denied", "why": reason}
        case Unknown(reason=reason):
            return {"outcome": "unknown", "why": reason}
        case Unavailable(reason=reason):
            return {"outcome": "unavailable", "why": reason}


def _time(at_ms: int | None) -> str | None:
    return None if at_ms is None else from_ms(at_ms).isoformat(timespec="seconds")
