"""How a process ended, in words."""

import signal


def how_ended(status: int) -> str:
    """By its status as Python has it, where a signal is a number below 0."""
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was ended by {signal.Signals(-status).name}"
    except ValueError:
        # Of the real-time signals only the first and the last have names.
        return f"was ended by signal {-status}"
