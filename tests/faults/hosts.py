"""The ingest of a host as it is seen from outside: what it says, and its processes."""

import json
import os
import signal
import time
from datetime import datetime
from pathlib import Path

from forebay.ingest.gaps.book import FOLDER
from forebay.ingest.locks import is_free
from forebay.ingest.spool.counts import Counts
from tests.answers import metrics_of
from tests.e2e.site import Site

_LOOK_S = 0.05
_MS = 1000


def logged(site: Site) -> list[tuple[float, str]]:
    """The lines of the ingest that runs, and when each was written, in seconds since the epoch."""
    return lines_of(site.log("ingest"))


def lines_of(log: str) -> list[tuple[float, str]]:
    """The same of a log."""
    # Processes share the file: now and then the ends of two lines follow their beginnings.
    text = log.replace("}{", "}\n{")
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{") and line.endswith("}")]
    return [(datetime.fromisoformat(line["timestamp"]).timestamp(), line["event"]) for line in lines]


def is_open(site: Site, processes: int) -> bool:
    """Whether so many processes of the ingest have found their queue."""
    return sum(line == "the queue is open" for _, line in logged(site)) >= processes


def is_well(site: Site) -> bool:
    """Whether the ingest has its queue, and nothing in the spool."""
    states = site.parts()
    return bool(states) and all(state == "ok" for state in states.values())


def is_flowing(site: Site, within_s: float) -> bool:
    """Whether all but its spool is well, and what that has came within so many seconds: whatever came before has left.

    Of a spool that nobody drains no age is known.
    """
    states = site.parts()
    if "spool" not in states or any(state != "ok" for part, state in states.items() if part != "spool"):
        return False
    oldest_ms = Counts(folder_of(site) / "counts", only_read=True).oldest_ms
    return time.time() - oldest_ms / _MS <= within_s


def is_told(site: Site) -> bool:
    """Whether every portal was told of its gap, also where that stands in a book that nobody has taken over yet."""
    return metered(site, "forebay_ingest_gaps_waiting") == 0 and not any(
        is_free(lock) and _is_written(lock.with_suffix(""))
        for lock in (Path(site.settings["data_dir"]) / FOLDER).glob("*.lock")
    )


def _is_written(book: Path) -> bool:
    try:
        return any(book.read_bytes())
    except FileNotFoundError:
        return False


def counted(site: Site, outcome: str) -> int:
    """How many calls ended so, as the ingest counted them."""
    return metered(site, "forebay_ingest_requests_total", f'"{outcome}"')


def metered(site: Site, metric: str, label: str = "") -> int:
    """The sum of a metric's samples that have the label."""
    found = [line for line in metrics_of(site.port).splitlines() if line.startswith(metric) and label in line]
    return round(sum(float(line.rpartition(" ")[2]) for line in found))


def folder_of(site: Site) -> Path:
    """The spool's folder."""
    return Path(site.settings["data_dir"]) / "spool"


def kill_all(site: Site, workers: bool = True) -> None:
    """Every process of the ingest at once, the master first: it must not start others. Or it alone dies."""
    serving = site.workers()
    site.running["ingest"].send_signal(signal.SIGKILL)
    for pid in serving if workers else ():
        os.kill(pid, signal.SIGKILL)
    site.running["ingest"].wait()
    site.wait("the end of all", lambda: not any(Path(f"/proc/{pid}").exists() for pid in serving))


def drainer(site: Site) -> int:
    """The one that drains the spool."""
    inode = (folder_of(site) / "draining.lock").stat().st_ino
    while True:
        locks = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
        for words in locks:
            # A line with an arrow is somebody who waits.
            if "->" not in words and words[5].endswith(f":{inode}"):
                return int(words[4])
        time.sleep(_LOOK_S)
