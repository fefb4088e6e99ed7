"""Ports for the servers that tests start."""

import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path

#: Below those that a system gives to outgoing connections (Linux from 32,768 on): one of these would take the port of a
#: server that is just being started again.
_RANGE = range(15_000, 32_000)

#: Not the tests' own numbers, which may be the same in every run.
_draw = random.SystemRandom().choice

#: A byte a port, locked for as long as this process lives: a run of the tests beside this one takes none of ours, also
#: while the server on it is being started again.
_TAKEN = (Path(tempfile.gettempdir()) / f"forebay-tests-{os.getuid()}.ports").open("ab")

#: Those that were given out here: the server may not have started yet, and a process's own locks don't keep it out.
_OURS: set[int] = set()


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago, and that nobody else takes, in this run of the tests or another."""
    return [_free_port() for _ in range(count)]


def _free_port() -> int:
    while (port := _draw(_RANGE)) in _OURS or not _is_free(port):
        pass
    _OURS.add(port)
    return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            fcntl.lockf(_TAKEN, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
