"""The end of a process in which there were modules of a user."""

import os
import sys
import threading
from time import sleep

from forebay.schemas.logger import get_logger

#: Seconds in which Python ends by itself where nothing keeps it, on a machine that is busy.
_LEAST_S = 2.0

_log = get_logger(__name__)


def leave_within(grace_s: float, status: int) -> None:
    """Have the process end with the status after so long at the latest, or two seconds, whatever keeps it.

    Python waits for threads and functions of `atexit` that the modules have left behind, for ever if need be: whoever
    waits for the end of a worker, to start another, would wait too.
    """
    threading.Thread(target=_leave, args=(max(grace_s, _LEAST_S), status), name="forebay-leaving", daemon=True).start()


def _leave(grace_s: float, status: int) -> None:
    sleep(grace_s)
    keep = [one.name for one in threading.enumerate() if not one.daemon and one is not threading.main_thread()]
    _log.warning(
        f"what the handlers' modules have left behind did not end within {grace_s:g} s",
        threads=keep or "none; a function of atexit",
    )
    sys.stdout.flush()
    os._exit(status)
