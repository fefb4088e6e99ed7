"""Where there is a spool, and where there is none."""

import os
from pathlib import Path

from forebay.ingest.settings import IngestSettings
from forebay.queues.opening import scheme_of
from forebay.queues.sql.address import path_of

from .folder import Folder
from .spool import Spool


def open_spool(settings: IngestSettings) -> Spool | None:
    """The spool in `data_dir`, not opened yet; None where there is none."""
    return Spool(settings.data_dir, settings.spool_max_bytes) if has_spool(settings) else None


def has_spool(settings: IngestSettings) -> bool:
    """Whether there is one: not in front of an SQLite queue on the same disk, unless portals may have to wait.

    One that was begun under other settings stays: what it holds was answered, and stands before what comes now.
    """
    is_begun = Folder(settings.data_dir).root.is_dir()
    may_wait = bool(settings.portal_rate)
    return is_begun or may_wait or not _is_on_the_same_disk(settings.queue_url, settings.data_dir)


def _is_on_the_same_disk(queue_url: str, data_dir: Path) -> bool:
    return scheme_of(queue_url) == "sqlite" and _device(path_of(queue_url).parent) == _device(data_dir)


def _device(folder: Path) -> int:
    """Of the folder, or of the first above it that exists: the rest is made when it is needed."""
    absolute = folder.absolute()
    return os.stat(next(path for path in (absolute, *absolute.parents) if path.is_dir())).st_dev
