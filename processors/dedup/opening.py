"""Which marks a worker uses."""

from forebay.processors.settings import WorkerSettings
from forebay.queues.opening import check_client, scheme_of
from forebay.schemas.logger import get_logger

from .marks import Marks, MarksInMemory

_log = get_logger(__name__)

_FILE = "dedup.db"


def open_marks(settings: WorkerSettings) -> Marks:
    """Those of `dedup_url`; without it of the queue's own server, or of a file that the workers of this host share.

    Raises `QueueError` where the library for it is missing.
    """
    scheme = scheme_of(settings.queue_url)
    if scheme == "memory" and settings.dedup_url is None:
        return MarksInMemory()
    check_client(marks_url(settings), "dedup_url")
    # SQLAlchemy takes a while to load, and most handlers remember nothing.
    from forebay.queues.sql.opening import open_database

    from .database import MarksInDatabase

    if settings.dedup_url is None and scheme not in ("postgresql", "sqlite"):
        _log.warning(
            "handlers with dedup remember on this host only; with workers on several, set dedup_url to a database "
            "that all of them share"
        )
    return MarksInDatabase(open_database(marks_url(settings)))


def marks_url(settings: WorkerSettings) -> str:
    """Where they are."""
    if settings.dedup_url is not None:
        return settings.dedup_url
    if scheme_of(settings.queue_url) == "postgresql":
        return settings.queue_url
    return f"sqlite:///{settings.data_dir}/{_FILE}"
