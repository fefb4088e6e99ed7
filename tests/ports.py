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


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago, and that no other run of the tests takes."""
    ports: set[int] = set()
    while len(ports) < count:
        port = _draw(_RANGE)
        if _is_free(port):
            ports.add(port)
    return list(ports)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            fcntl.lockf(_TAKEN, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
