"""The files that properties name: librdkafka only says that something failed."""

from collections.abc import Iterator
from pathlib import Path

from .properties import Properties

#: A property that ends like this names a file; `probe` is librdkafka's word for the system's own authorities.
_NAMES_A_FILE = (".location", ".file", ".keytab")
_NO_FILE = "probe"


def unreadable(properties: Properties) -> Iterator[tuple[str, str]]:
    """Each property whose file this user can't read, and why."""
    for name, value in properties.items():
        if name.endswith(_NAMES_A_FILE) and value != _NO_FILE and (why := _why_not(Path(str(value)))):
            yield name, f"{value} can't be read: {why}"


def _why_not(path: Path) -> str:
    # A folder of authorities is as good as a file of them.
    if path.is_dir():
        return ""
    try:
        with path.open("rb"):
            return ""
    except OSError as error:
        return error.strerror or str(error)
