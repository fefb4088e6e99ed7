"""`python -m forebay.console`, which is `forebay`: its first steps, before anything is imported that takes time."""

import os
import signal
import sys

#: prometheus-client's, by which a worker would leave its metrics in somebody else's folder, and not start without one;
#: and gunicorn's, of which it takes numbers, addresses and files, and ends where they are none.
_OF_LIBRARIES = (
    "PROMETHEUS_MULTIPROC_DIR",
    "prometheus_multiproc_dir",
    "FORWARDED_ALLOW_IPS",
    "GUNICORN_FD",
    "GUNICORN_PID",
    "WEB_CONCURRENCY",
)


def main() -> None:
    """Run the command of this process's arguments, and exit with its status."""
    _take_places()
    _forget_variables()
    _hear_signals()
    by_default = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if by_default:
        # Nothing has begun yet, and an import that is broken off shows where.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from .cli import main as run

    if by_default:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        run()
    except KeyboardInterrupt:
        # Whoever started us sees that it was Ctrl-C.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.raise_signal(signal.SIGINT)


def _take_places() -> None:
    """Where a standard stream is closed, let no file or socket take its number: libuv would abort.

    What is printed to an output that is closed is an error, as everywhere; errors themselves go nowhere.
    """
    for number, flags in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            # The lowest number that is free is this one. Our children get it too.
            os.set_inheritable(os.open(os.devnull, flags), True)
    # Whoever puts another stream in the place of one of them, as a worker does, must not let go of its number.
    sys.stdin = sys.stdin or open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - as long as the process
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115


def _forget_variables() -> None:
    """Who serves other things too may have set up the libraries that we use: what they do here is by our settings."""
    for name in _OF_LIBRARIES:
        os.environ.pop(name, None)


def _hear_signals() -> None:
    """What our parent has blocked or ignored, we would: no stop would be heard, or how a child ended."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if os.getpid() == 1:
        # Of a container: without a handler it hears nothing, and would be waited for until it is killed.
        signal.signal(signal.SIGTERM, lambda number, frame: os._exit(128 + number))


if __name__ == "__main__":
    main()
