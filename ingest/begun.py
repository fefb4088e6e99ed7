"""A call without a task: what the queue is given for it, and what goes on when that is decided."""

import traceback
from collections.abc import Callable

from forebay.schemas.logger import get_logger
from forebay.schemas.quick_value import quick_value

from .authenticate import Sender
from .form import Form
from .record import Receipt
from .request import PortalRequest, Told

log = get_logger(__name__)


@quick_value
class BegunCall:
    """What is known of it."""

    request: PortalRequest
    form: Form
    sender: Sender
    receipt: Receipt
    told: Told
    #: When its event was given to the queue.
    started: float


#: Goes on with the call: whether it is the spool that has the event, or why it is kept nowhere.
Then = Callable[[BegunCall, "bool | Exception"], None]


class Begun:
    """Waits for the call's event, as the passage's `Answer`."""

    __slots__ = ("_call", "_then")

    def __init__(self, call: BegunCall, then: Then) -> None:
        self._call: BegunCall | None = call
        self._then = then

    def done(self) -> bool:
        """As in `Answer`."""
        return self._call is None

    def set_result(self, is_spooled: bool, /) -> None:
        """As in `Answer`."""
        self._tell(is_spooled)

    def set_exception(self, error: Exception, /) -> None:
        """As in `Answer`."""
        self._tell(error)

    def _tell(self, outcome: bool | Exception) -> None:
        # The queue may hold us for hours after the spool has answered, but not the connection.
        call, self._call = self._call, None
        try:
            if call is not None:
                self._then(call, outcome)
        except Exception as error:  # whatever it is, others are told behind this one
            # As text: a log that shows a traceback's variables would show the call's tokens.
            lines = "".join(traceback.format_exception(error))
            log.error("a call could not be answered", traceback=lines)
