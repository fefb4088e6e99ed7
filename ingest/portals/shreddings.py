"""Shreddings that are still to be done, in files of `data_dir`: a stop, a crash or a power cut forgets none."""

from dataclasses import asdict, dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any

import orjson

from forebay.queues.folders import write_whole
from forebay.schemas.logger import get_logger

log = get_logger(__name__)

#: Below `data_dir`.
FOLDER = "shreddings"

_ID_BYTES = 8


@dataclass(slots=True, kw_only=True)
class Shredding:
    """That a portal has uninstalled an application with its data."""

    member_id: str
    #: The name under which it is told of.
    portal: str | None
    application: str
    #: When, in milliseconds since the epoch.
    at_ms: int
    #: The ids of the keys that it had; None as long as nothing could be read of the portals.
    keys: set[str] | None


class Shreddings:
    """The files of a host. All of it blocks, and may be called from any thread. Without a folder nothing is kept."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder and folder / FOLDER

    @property
    def are_kept(self) -> bool:
        """Whether there is a folder for them."""
        return self._folder is not None

    def new_name(self) -> str:
        """For one of which there is no file yet."""
        return token_hex(_ID_BYTES)

    def left(self) -> dict[str, Shredding]:
        """What processes before us have left, each by its name. Of those that run it may be the same."""
        found = {}
        for path in self._folder.glob("*.json") if self._folder else ():
            try:
                found[path.stem] = unpacked(path.read_bytes())
            except FileNotFoundError:
                # Another one has done it just now.
                continue
            except (OSError, ValueError, KeyError, TypeError) as error:
                log.error("a portal's keys can't be shredded: the note is damaged", file=str(path), error=str(error))
        return found

    def keep(self, name: str, one: Shredding) -> None:
        """Note that it is to be done. Raises `OSError`."""
        if self._folder is not None:
            write_whole(self._folder / f"{name}.json", packed(one))

    def done(self, name: str) -> None:
        """Forget it. Raises `OSError`."""
        if self._folder is not None:
            (self._folder / f"{name}.json").unlink(missing_ok=True)


def packed(one: Shredding) -> bytes:
    """The file of it."""
    return orjson.dumps({**asdict(one), "keys": None if one.keys is None else sorted(one.keys)})


def unpacked(said: bytes) -> Shredding:
    """What stands in the file. Raises `ValueError`, `KeyError` or `TypeError` where it is none."""
    told: dict[str, Any] = orjson.loads(said)
    keys = told["keys"]
    return Shredding(
        member_id=str(told["member_id"]),
        portal=told["portal"],
        application=str(told["application"]),
        at_ms=int(told["at_ms"]),
        keys=None if keys is None else set(map(str, keys)),
    )
