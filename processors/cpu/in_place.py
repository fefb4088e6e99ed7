"""For tests of handlers with `cpu=True`: their calls, without a process."""

from forebay.processors.handlers import Handler

from .answers import Ended


class InPlace:
    """Makes the calls here and now."""

    async def start(self) -> None:
        """As in `Processes`."""

    async def call(self, handler: Handler, argument: object, key: str, deadline_s: float) -> Ended:
        """As in `Processes`, but for the deadline."""
        try:
            return handler.function(argument), None
        # As in a process: whatever it raises is its outcome.
        except BaseException as error:
            return None, error

    async def close(self) -> None:
        """As in `Processes`."""
