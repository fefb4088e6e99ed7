"""Findings of `doctor` that are the same for every server of a database."""

from forebay.queues.findings import Finding

#: Minutes after which a transaction of anybody keeps too much from being cleaned up.
LONG_MIN = 10

#: Connections that should be left for one more worker and a person.
SPARE = 8


Version = tuple[int, ...]


def is_at_least(version: str, oldest: Version) -> bool:
    """Whether a version such as 10.5.4 is this one, or newer."""
    return tuple(int(part) for part in version.split(".")[: len(oldest)]) >= oldest


def version(server: str, version: str, oldest: Version) -> Finding:
    """What the server is, by its name with its version, and by the version alone."""
    if not is_at_least(version, oldest):
        remedy = f"upgrade: Forebay is made for {'.'.join(map(str, oldest))} and newer"
        return Finding(check="queue version", state="warn", detail=server, remedy=remedy)
    return Finding(check="queue version", state="ok", detail=server)


def connections(left: int, limit: str = "max_connections", of_a_worker: str = "four") -> Finding:
    """How many more the server takes."""
    if left < SPARE:
        remedy = f"raise {limit}, or run fewer processes: a worker takes {of_a_worker} connections"
        return Finding(check="queue connections", state="warn", detail=f"{left} are left", remedy=remedy)
    return Finding(check="queue connections", state="ok", detail=f"{left} are left")


def rights(lacking: str, remedy: str) -> Finding:
    """What our user may do; `lacking` names what it may not."""
    if lacking:
        return Finding(check="queue rights", state="fail", detail=f"lacking: {lacking}", remedy=remedy)
    return Finding(check="queue rights", state="ok", detail="reads and writes everything of ours")


def transactions(minutes: float, remedy: str) -> Finding:
    """How long the oldest one is open."""
    if minutes > LONG_MIN:
        detail = f"one is open for {minutes:.0f} minutes: nothing that was deleted or changed since is cleaned up"
        return Finding(check="queue transactions", state="warn", detail=detail, remedy=remedy)
    return Finding(check="queue transactions", state="ok", detail="none is open for long")
