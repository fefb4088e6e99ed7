"""Why a move is not begun, or not gone on with; nothing is lost by it."""

from forebay.schemas.errors import ForebayError


class NotNow(ForebayError):
    """Somebody writes or works, or something would be lost; the message lists all there is to be done before."""

    def __init__(self, reasons: list[str]) -> None:
        super().__init__("\n".join(["nothing is moved:", *(f"  - {reason}" for reason in reasons)]))


class CantMove(ForebayError):
    """Something about the queues has to be decided, or changed, before it can be done."""
