"""What `forebay doctor` looks at, one function a subject."""

import asyncio
import os
import platform
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from time import time
from typing import TYPE_CHECKING

from forebay.queues.errors import QueueError
from forebay.queues.findings import Finding, State
from forebay.queues.opening import scheme_of
from forebay.queues.sql.address import path_of

from .caller_checks import caller_findings
from .dedup_checks import dedup_findings
from .disks import MOUNTS, disk_found
from .folder_checks import existing, writable
from .lag import read_by_others
from .needs import Side, needs
from .oauth_checks import oauth_findings
from .reading import inspected, opened
from .registry_checks import registry_findings
from .spool_checks import spool_findings
from .versions import version_of

if TYPE_CHECKING:
    from forebay.console.settings import Loaded, Settings
    from forebay.queues.contract import Inspector

#: A queue that needs longer to answer is not there.
_QUEUE_S = 15.0

#: Below this a disk counts as nearly full: some minutes of a heavy load.
_LOW_BYTES = 1 << 30
_TOO_LOW_BYTES = 100 << 20

#: A record may be so far ahead of this machine's clock.
_AHEAD_S = 5.0

#: Before this no Forebay existed, so a clock that shows it is not set.
_NOT_BEFORE = datetime(2026, 1, 1, tzinfo=UTC)

_LIBRARIES = ("falcon", "gunicorn", "fastavro", "sqlalchemy", "confluent-kafka", "uvloop", "pydantic")


async def examined(loaded: "Loaded", side: Side = "all", mounts: Path = MOUNTS) -> list[Finding]:
    """Everything that was found, settings first."""
    settings = loaded.settings
    found = [*_versions(), *_settings(loaded), *_keys(settings), *_auth(settings), *_disk(settings, mounts), *_clock()]
    if side in ("all", "ingest"):
        found += spool_findings(settings, mounts)
        found += [finding async for finding in caller_findings(settings)]
        found += [finding async for finding in oauth_findings(settings)]
    found += [finding async for finding in _queue(settings, side)]
    if side in ("all", "process"):
        found += [finding async for finding in dedup_findings(settings)]
    return found + [finding async for finding in registry_findings(settings)]


def _versions() -> Iterator[Finding]:
    found = {library: version_of(library) for library in _LIBRARIES}
    for library in (library for library, number in found.items() if number is None):
        yield Finding(check="versions", state="fail", detail=f"{library} is missing", remedy="pip install forebay")
    named = [f"{library} {number}" for library, number in found.items() if number]
    ours = f"Forebay {version_of('forebay') or 'from its source'}, Python {platform.python_version()}"
    yield Finding(check="versions", state="ok", detail=", ".join([ours, *named]))


def _settings(loaded: "Loaded") -> Iterator[Finding]:
    for name, (value, source) in loaded.shown().items():
        yield Finding(check=f"setting {name}", state="ok", detail=f"{value} ({source})")


def _keys(settings: "Settings") -> Iterator[Finding]:
    if not settings.seal_keys:
        yield Finding(
            check="seal_keys",
            state="warn",
            detail="none: access tokens are dropped, so handlers can't call a portal's REST API with them",
            remedy="make one with forebay keys new, and set seal_keys to what it prints",
        )
    # Keys that are none have stopped us before: the settings refuse them.
    for number, key_id in enumerate(settings.seal_keys):
        detail = "seals, and opens what it sealed" if number == 0 else "opens what it sealed"
        yield Finding(check=f"seal_keys {key_id}", state="ok", detail=detail)


def _auth(settings: "Settings") -> Iterator[Finding]:
    for endpoint in settings.served:
        is_open = "none" in endpoint.auth
        yield Finding(
            check=f"auth {endpoint.path}",
            state="warn" if is_open else "ok",
            detail=f"{', '.join(endpoint.auth)} on {settings.bind}",
            remedy="whoever reaches this address may send events; set tokens before it is public" if is_open else "",
        )


def _disk(settings: "Settings", mounts: Path) -> Iterator[Finding]:
    folder = existing(settings.data_dir.absolute())
    free = shutil.disk_usage(folder).free
    state: State = "fail" if free < _TOO_LOW_BYTES else "warn" if free < _LOW_BYTES else "ok"
    yield Finding(
        check="disk",
        state=state,
        detail=f"{free >> 20:,} MiB free for {settings.data_dir}",
        remedy="" if state == "ok" else "free some space, or move data_dir",
    )
    yield from writable("data_dir", folder)
    if scheme_of(settings.queue_url) == "sqlite":
        database = path_of(settings.queue_url).absolute()
        if (home := existing(database.parent)) != folder:
            yield from writable("queue_url", home)
        yield from disk_found("queue disk", "data_dir, or queue_url,", home, mounts)
        if os.path.exists(database) and not os.access(database, os.R_OK | os.W_OK):
            remedy = f"give this user the right to read and write {database}, or set queue_url"
            yield Finding(check="queue_url", state="fail", detail=f"{database} can't be written to", remedy=remedy)


def _clock() -> Iterator[Finding]:
    now = datetime.now(UTC)
    sane = now > _NOT_BEFORE
    remedy = "" if sane else "set the clock; ids and times of events are made from it"
    yield Finding(check="clock", state="ok" if sane else "fail", detail=f"{now:%Y-%m-%d %H:%M:%S} UTC", remedy=remedy)


async def _queue(settings: "Settings", side: Side) -> AsyncIterator[Finding]:
    try:
        async with asyncio.timeout(_QUEUE_S), opened(settings) as queue:
            wanted, found = needs(settings, side), []
            async for finding in queue.diagnose(wanted):
                found.append(finding)
                yield finding
            if "read" in wanted.streams[settings.topic] and _may_be_read(found):
                async with inspected(queue) as inspector:
                    yield await _newest(inspector, settings.topic)
                    async for finding in _withheld(inspector, settings.topic):
                        yield finding
                    if wanted.group is not None and (others := await _others(inspector, settings)):
                        yield _never_read(settings, others)
    except (QueueError, TimeoutError) as error:
        detail = str(error) or f"did not answer within {_QUEUE_S:g} s"
        yield Finding(check="queue", state="fail", detail=detail, remedy="look at queue_url and data_dir")


def _may_be_read(found: list[Finding]) -> bool:
    return any((one.check, one.state) == ("queue", "ok") for one in found) and all(one.state != "fail" for one in found)


async def _others(inspector: "Inspector", settings: "Settings") -> list[str]:
    # Who may see his own group need not be allowed to see those of others.
    with suppress(QueueError):
        return await read_by_others(inspector, settings)
    return []


def _never_read(settings: "Settings", others: list[str]) -> Finding:
    return Finding(
        check=f"group {settings.group}",
        state="warn",
        detail=f"has never read {settings.topic}, and {', '.join(others)} did: it begins with the oldest event",
        remedy="set group as it was, unless all that is kept is to be handled by this one too",
    )


async def _withheld(inspector: "Inspector", topic: str) -> AsyncIterator[Finding]:
    bounds = await inspector.bounds(topic)
    if found := {number: one.withheld for number, one in bounds.items() if one.withheld}:
        which, first = ", ".join(map(str, found)), min(found)
        yield Finding(
            check=f"topic {topic}",
            state="warn",
            detail=f"another program's transaction is open in partitions {which}: no worker gets the "
            f"{sum(found.values()):,} records that came since, before it ends",
            remedy=f"whose it is: kafka-transactions describe-producers --topic {topic} --partition {first}; end that "
            "program's work, or the transaction by kafka-transactions abort",
        )


async def _newest(inspector: "Inspector", topic: str) -> Finding:
    newest_ms = 0
    for partition, bounds in (await inspector.bounds(topic)).items():
        if bounds.end > bounds.start:
            last = await inspector.read(topic, partition, bounds.end - 1, 1)
            newest_ms = max([newest_ms, *(record.timestamp_ms for record in last)])
    ahead_s = newest_ms / 1000 - time()
    if not newest_ms:
        return Finding(check="newest record", state="ok", detail="the queue is empty")
    if ahead_s > _AHEAD_S:
        remedy = "set the clocks of the machines by NTP"
        return Finding(check="newest record", state="warn", detail=f"is {ahead_s:.0f} s in the future", remedy=remedy)
    return Finding(check="newest record", state="ok", detail=f"{max(0.0, -ahead_s):,.0f} s old")
