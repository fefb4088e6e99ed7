"""What a newer Forebay has made is left alone: we might damage what we don't know."""

from .errors import QueueError


def refuse_newer(what: str, found: int, known: int) -> None:
    """Raise `QueueError` where it was made by a newer Forebay than this one."""
    if found > known:
        raise QueueError(
            f"{what} was made by a newer Forebay (version {found}, this one knows {known}): upgrade this one"
        )
