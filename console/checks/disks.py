"""Whether a disk is one that keeps what is written to it."""

from collections.abc import Iterator
from pathlib import Path

from forebay.queues.findings import Finding

#: What the kernel knows of the mounts.
MOUNTS = Path("/proc/self/mountinfo")

#: Kinds of file systems where locks, fsync or mapped memory don't mean what a spool or a queue needs.
_NETWORK = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "ocfs2", "gfs2"}
)
_MEMORY = frozenset({"tmpfs", "ramfs"})
_CONTAINER = frozenset({"overlay", "aufs"})

#: As the kernel writes what would end a word in its list.
_ESCAPES = {r"\040": " ", r"\011": "\t", r"\012": "\n", r"\134": "\\"}


def disk_found(check: str, setting: str, home: Path, mounts: Path = MOUNTS) -> Iterator[Finding]:
    """What the folder is on, which the setting names; nothing where that can't be known."""
    kind = file_system(home, mounts)
    remedy = f"set {setting} to a folder on a local disk that outlives the process; {home} is on {kind}"
    if kind in _NETWORK or kind.startswith("fuse."):
        detail = "is on a network file system: locks and fsync may not hold there, and it may hang with the network"
        yield Finding(check=check, state="warn", detail=detail, remedy=remedy)
    elif kind in _MEMORY:
        detail = "is in memory: what it holds is lost when the machine restarts"
        yield Finding(check=check, state="warn", detail=detail, remedy=remedy)
    elif kind in _CONTAINER:
        detail = "is in a container's own layer: what it holds is lost with the container"
        yield Finding(check=check, state="warn", detail=detail, remedy=f"{remedy}; mount a volume there")
    elif kind:
        yield Finding(check=check, state="ok", detail=f"{kind}, a local disk")


def file_system(folder: Path, mounts: Path = MOUNTS) -> str:
    """The kind of the file system that the folder is on; empty where the kernel has no list of them."""
    try:
        lines = mounts.read_text("utf-8", "replace").splitlines()
    except OSError:
        return ""
    path, found = folder.resolve(), (0, "")
    for line in lines:
        # proc_pid_mountinfo(5): the fifth word is where it is mounted, and the kind stands behind a lone dash.
        before, _, behind = line.partition(" - ")
        place = Path(_unescaped(before.split()[4]))
        if path.is_relative_to(place) and len(place.parts) >= found[0]:
            found = len(place.parts), behind.split()[0]
    return found[1]


def _unescaped(word: str) -> str:
    for escape, char in _ESCAPES.items():
        word = word.replace(escape, char)
    return word
