"""How many files a process may have open: each connection is one."""

import fcntl
import os
import resource
from contextlib import suppress

#: An idle connection costs a worker some 15 KB and the kernel a few: of so many all have room in half a gigabyte.
_MOST = 32_768

#: So many every macOS lets a process have (setrlimit(2), OPEN_MAX).
_LESS = 10_240


def allow_many() -> None:
    """Raise the soft limit: many systems start a process with 1024, which a burst of portals exceeds."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for most in _MOST, _LESS:
        wanted = most if hard == resource.RLIM_INFINITY else min(hard, most)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            # macOS refuses more than it lets any process have, whatever the hard limit says.
            with suppress(ValueError):
                return resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def make_room(file: int) -> None:
    """Have the kernel's table of this process's files as large as it may become, by a copy of one of them.

    It starts with 64 places. In a process with threads each doubling waits until no processor can still see the former
    table (Linux' synchronize_rcu), for which a burst of new callers has waited 10 to 20 ms each time: to be done before
    the first thread.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    places = _MOST if soft == resource.RLIM_INFINITY else min(soft, _MOST)
    # Without it a worker is slower, and no worse.
    with suppress(OSError):
        os.close(fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, places - 1))
