"""The files that properties name: librdkafka only says that something failed."""

from collections.abc import Iterator
from pathlib import Path

from .properties import Properties

#: A property that ends like this names a file; `probe` is librdkafka's word for the system's own authorities.
_NAMES_A_FILE = (".location", ".file", ".keytab")
_NO_FILE = "probe"


def named_files(properties: Properties) -> Iterator[tuple[str, Path]]:
    """Each property that names a file, or a folder of them, and which."""
    for name, value in properties.items():
        if name.endswith(_NAMES_A_FILE) and value != _NO_FILE:
            yield name, Path(str(value))


def unreadable(properties: Properties) -> Iterator[tuple[str, str]]:
    """Each property whose file this user can't read, and why."""
    for name, path in named_files(properties):
        if why := _why_not(path):
            yield name, f"{path} can't be read: {why}"


def _why_not(path: Path) -> str:
    # A folder of authorities is as good as a file of them.
    if path.is_dir():
        return ""
    try:
        with path.open("rb"):
            return ""
    except OSError as error:
        return error.strerror or str(error)
