"""The folder that a supervisor shares with its children: their metrics, and what each says of itself."""

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import Any

import orjson

from forebay.processors.health import Told
from forebay.schemas.logger import get_logger

_log = get_logger(__name__)

#: Where prometheus-client's processes leave their values for each other, and so where our folder is.
METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"

#: What each has there, by its process id.
_FILE = "health_{}.json"

TELL_EVERY_S = 1.0

#: A child that says nothing for so long is stuck.
STALE_S = 10.0


def tell(
    folder: str, report: Mapping[str, object], groups: Sequence[str] = (), clock: Callable[[], float] = monotonic
) -> None:
    """Say how this process is, and whose events it handles, in place of what it said before."""
    path = _path(folder, os.getpid())
    new = path.with_suffix(".new")
    new.write_bytes(orjson.dumps({"at": clock(), "report": report, "groups": groups}))
    new.replace(path)


async def tell_regularly(folder: str, health: Told, groups: Sequence[str]) -> None:
    """Say it again and again. A loop that stands still says nothing, and that is told by it."""
    why_not = ""
    while True:
        try:
            tell(folder, health.report(), groups)
            why_not = ""
        except OSError as error:
            # A disk may be full for a while; who never spoke again would be taken for one that stands still.
            if not why_not:
                _log.warning("how this worker is can't be written down; trying again", error=str(error))
            why_not = str(error)
        await asyncio.sleep(TELL_EVERY_S)


def has_told(folder: str, pid: int) -> bool:
    """Whether the process ever said anything."""
    return _path(folder, pid).exists()


def groups_of(folder: str, pid: int) -> list[str]:
    """Whose events the process handles; none before it has said so."""
    said = _read(folder, pid)
    return said[2] if said else []


def state_of(folder: str, pid: int, clock: Callable[[], float] = monotonic) -> tuple[str, str]:
    """The process's state and the reason: `failing` when it said nothing for some seconds."""
    said = _read(folder, pid)
    if said is None or _is_stale(said[0], clock):
        return "failing", "has said nothing yet" if said is None else f"has said nothing for {STALE_S:g} s"
    report = said[1]
    why = (f"{part}: {one['why']}" for part, one in report["parts"].items() if one["why"])
    return report["status"], "; ".join(why)


def silence_s(folder: str) -> float:
    """For how long the worker stands still that does so for the longest time; 0 while none does.

    Workers are those that handle a group's events and have said so. The ingest says once that it listens, and no more.
    """
    found = (_said(file) for file in Path(folder).glob(_FILE.format("*")))
    return max(
        (monotonic() - said[0] for said in found if said and said[2] and _is_stale(said[0], monotonic)), default=0.0
    )


def _is_stale(at: float, clock: Callable[[], float]) -> bool:
    return clock() - at > STALE_S


def forget(folder: str, pid: int) -> None:
    """Let go of what a dead process said, and of its gauges; its counts stay, since a sum may not sink."""
    from forebay.ingest.metric_files import forget_dead

    forget_dead(folder)
    _path(folder, pid).unlink(missing_ok=True)


def _read(folder: str, pid: int) -> tuple[float, dict[str, Any], list[str]] | None:
    return _said(_path(folder, pid))


def _said(file: Path) -> tuple[float, dict[str, Any], list[str]] | None:
    try:
        said = orjson.loads(file.read_bytes())
    except FileNotFoundError:
        return None
    return said["at"], said["report"], said["groups"]


def _path(folder: str, pid: int) -> Path:
    return Path(folder) / _FILE.format(pid)
