"""What can go wrong at the command line beyond what the rooms raise."""

from forebay.schemas.errors import ForebayError

#: Exit status: something failed, was lost or stood out of order.
FAILED = 1

#: Exit status: wrong usage or settings. A supervisor does not start such a child again.
WRONG = 2


class WrongUsage(ForebayError):
    """The command can't be run like this; the message says how."""
