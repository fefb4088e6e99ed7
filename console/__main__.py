"""`python -m forebay.console`, which is `forebay`: its first steps, before anything is imported that takes time."""

import os
import signal
import sys


def main() -> None:
    """Run the command of this process's arguments, and exit with its status."""
    _take_places()
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


if __name__ == "__main__":
    main()
