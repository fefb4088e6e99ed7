"""What `forebay doctor` looks at, one function a subject; larger ones have a file."""

import os
import platform
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from forebay.console.versions import version_of
from forebay.queues.findings import Finding, State
from forebay.queues.opening import scheme_of, why_no_portals
from forebay.queues.sql.address import path_of

from .callers import caller_findings
from .dedup import dedup_findings
from .disks import MOUNTS, disk_found
from .folders import existing, writable
from .needs import Side
from .oauth import oauth_findings
from .queue import queue_findings
from .registry import registry_findings
from .spool import spool_findings

if TYPE_CHECKING:
    from forebay.console.settings import Loaded, Settings

#: Below this a disk counts as nearly full: some minutes of a heavy load.
_LOW_BYTES = 1 << 30
_TOO_LOW_BYTES = 100 << 20

#: Before this no Forebay existed, so a clock that shows it is not set.
_NOT_BEFORE = datetime(2026, 1, 1, tzinfo=UTC)

_MAKE_A_KEY = "make one with forebay keys new, and set seal_keys to what it prints (= for the colon in forebay.toml)"

_LIBRARIES = ("falcon", "gunicorn", "fastavro", "sqlalchemy", "confluent-kafka", "uvloop", "pydantic")


async def examined(loaded: "Loaded", side: Side = "all", mounts: Path = MOUNTS) -> list[Finding]:
    """Everything that was found, settings first."""
    settings = loaded.settings
    found = [*_versions(), *_settings(loaded), *_keys(settings), *_auth(settings), *_disk(settings, mounts), *_clock()]
    if side in ("all", "ingest"):
        found += spool_findings(settings, mounts)
        found += [finding async for finding in caller_findings(settings)]
        found += [finding async for finding in oauth_findings(settings)]
    found += [finding async for finding in queue_findings(settings, side)]
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
        no_portals = why_no_portals(settings.queue_url)
        yield Finding(
            check="seal_keys",
            state="warn",
            detail="none: access tokens are dropped, so handlers can't call a portal's REST API with them",
            remedy=f"{no_portals}: another queue_url" if no_portals else _MAKE_A_KEY,
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
