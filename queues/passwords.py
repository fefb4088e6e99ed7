"""The password of a login, where a URL may name a file of it instead."""

from dataclasses import dataclass
from pathlib import Path

from forebay.queues.errors import QueueError

#: The parameter of a URL that names the file.
FILE_PARAMETER = "password_file"


@dataclass(frozen=True, slots=True, repr=False)
class Password:
    """As it is written in the URL, or stands in a file: one that is renewed there is the next connection's."""

    written: str
    file: str | None = None

    def now(self) -> str:
        """What to log in with. Raises `OSError` when the file can't be read, or has nothing in it."""
        return read(Path(self.file)) if self.file else self.written


def password(written: str, file: str | None) -> Password:
    """What the URL says. Raises `QueueError` when it says it twice."""
    if written and file:
        raise QueueError(f"queue_url: it has a password, and {FILE_PARAMETER} too; one of them must go")
    return Password(written, file)


def read(path: Path) -> str:
    """What the file says, without the end of its line. Raises `OSError` when it can't be read, or has nothing in it."""
    if not (text := path.read_text("utf-8-sig", "replace").strip()):
        raise OSError(f"{path} is empty")
    return text
