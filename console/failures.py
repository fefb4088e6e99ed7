"""From an error to one line on standard error and an exit status."""

from collections.abc import Callable
from errno import EACCES, EFBIG, EMFILE, ENFILE, EPERM, EROFS
from traceback import print_exception

from forebay.schemas.errors import ForebayError

from .errors import FAILED, WRONG, WrongUsage
from .terminal.output import note

_RIGHTS = "run it as the user whose file it is, or give this user the right"

#: Why a file is closed → what to do about it.
_CLOSED = {EACCES: _RIGHTS, EPERM: _RIGHTS, EROFS: "copy the folder to where this user may write, and name that one"}

#: Which limit of the process is reached → what to do about it.
_LIMITED = {
    EFBIG: "raise the limit of a file's size (ulimit -f, LimitFSIZE)",
    EMFILE: "raise the limit of open files (ulimit -n, LimitNOFILE)",
    ENFILE: "raise the system's limit of open files (fs.file-max)",
}


def told(work: Callable[[], int]) -> int:
    """Do the work; an error of ours, a file that is closed to this user, or a limit of the process that is reached, is
    told without a traceback.

    Any other is a fault of Forebay and shows its own.
    """
    try:
        return work()
    except ForebayError as error:
        return tell(error)
    except OSError as error:
        if error.errno not in _CLOSED | _LIMITED:
            raise
        return tell(error)


def tell(error: BaseException) -> int:
    """Tell it as it is told when it ends the process, and give the status that the process has then."""
    if isinstance(error, OSError) and error.filename is not None and error.errno in _CLOSED:
        note(f"forebay: {error.filename}: {error.strerror}; {_CLOSED[error.errno]}")
        return FAILED
    if isinstance(error, OSError) and error.errno in _LIMITED:
        where = f"{error.filename}: " if error.filename is not None else ""
        note(f"forebay: {where}{error.strerror}; {_LIMITED[error.errno]}")
        return FAILED
    if not isinstance(error, ForebayError):
        print_exception(error)
        return FAILED
    note(f"forebay: {error}")
    return WRONG if _is_wrong(error) else FAILED


def _is_wrong(error: ForebayError) -> bool:
    # Not at the top: settings.py loads every room's settings, and `forebay --help` needs none of them.
    from forebay.ingest.callers.published import BadAllowList
    from forebay.processors.errors import BadHandler
    from forebay.queues.bad_settings import BadSettings
    from forebay.queues.errors import BadQueueSettings, ClientMissing
    from forebay.queues.registry.errors import BadRegistrySettings

    wrong = (
        WrongUsage | BadSettings | BadQueueSettings | BadRegistrySettings | BadAllowList | BadHandler | ClientMissing
    )
    return isinstance(error, wrong)
