"""Who gives an order: the person at this machine, as the machine knows them."""

import getpass
import os
import socket


def who() -> str:
    """`user@host`."""
    return f"{_user()}@{socket.gethostname()}"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container often runs under a number that has no name.
        return f"uid-{os.getuid()}"
