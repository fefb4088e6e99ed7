"""`forebay keys`: the keys that seal secrets; a new one, and how the old one goes."""

import json
import os
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .errors import FAILED, WrongUsage
from .invocation import invocation
from .options import AsJson

if TYPE_CHECKING:
    from forebay.console.settings import Settings


#: AES-256.
_KEY_BYTES = 32

#: Nobody but the user of the process may read it.
_PRIVATE = 0o600


def commands() -> typer.Typer:
    """The group."""
    group = typer.Typer(no_args_is_help=True)
    group.command("new")(new)
    group.command("rotate")(rotate)
    group.command("status")(status)
    return group


def new(
    context: typer.Context,
    id: Annotated[str | None, typer.Option("--id", help="its id; by default one with the date", min=1)] = None,
    out: Annotated[Path | None, typer.Option(help="write it there, behind the present keys, mode 600")] = None,
) -> None:
    """Make a key, and print it as an entry of seal_keys; or write a file for FOREBAY_SEAL_KEYS_FILE, and show nothing.

    It goes behind the present keys, so that every host can open what it seals before the first one seals with it. Put
    it in front when all hosts have it.
    """
    from .terminal.output import line, note

    present = invocation(context).settings().seal_keys
    key_id = _id(id, present)
    key = b64encode(os.urandom(_KEY_BYTES)).decode("ascii")
    if out is None:
        line(json.dumps({key_id: key}))
        return
    _write(out, {name: value.get_secret_value() for name, value in present.items()} | {key_id: key})
    note(f"{out} has key {key_id!r} behind {len(present)} others: set FOREBAY_SEAL_KEYS_FILE={out}")


def _id(given: str | None, present: Mapping[str, object]) -> str:
    from datetime import UTC, datetime

    from forebay.schemas.data_keys import PREFIX

    if given is not None and (given in present or given.startswith(PREFIX)):
        raise WrongUsage(f"--id {given}: there is a key of that id already, or it is a name of Forebay's own")
    today = datetime.now(UTC).strftime("k%Y%m%d")
    numbered = (today if number == 1 else f"{today}-{number}" for number in range(1, len(present) + 2))
    return given or next(name for name in numbered if name not in present)


def _write(path: Path, keys: Mapping[str, str]) -> None:
    try:
        # Made with its mode, and never over another file: that may be the only place of the keys in it.
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE)
    except FileExistsError:
        raise WrongUsage(f"{path} is there already; write to another file, and move it") from None
    except OSError as error:
        raise WrongUsage(f"{path} can't be written: {error}") from error
    try:
        with os.fdopen(file, "w", encoding="utf-8") as opened:
            json.dump(dict(keys), opened)
            opened.write("\n")
            opened.flush()
            os.fsync(opened.fileno())
    except OSError as error:
        # A part of it is no file of keys, and would be in the way of the next try.
        path.unlink(missing_ok=True)
        raise WrongUsage(f"{path} can't be written: {error}") from error


def rotate(context: typer.Context, as_json: AsJson = False) -> None:
    """Wrap the key of every portal anew, with the first of seal_keys. What they have sealed stays as it is.

    It may run while everything else does, and be run again: it goes on with what is left.
    """
    from .rotating import rotated
    from .running import run
    from .terminal.output import show

    settings = _with_keys(context)
    done = run(rotated(settings))
    show([done.row()], as_json=as_json)
    if done.stuck:
        raise typer.Exit(FAILED)


def status(
    context: typer.Context,
    no_records: Annotated[bool, typer.Option("--no-records", help="don't look through the queue")] = False,
    as_json: AsJson = False,
) -> None:
    """Show which keys are in use by how much, and which of them can go.

    A key can go when it is not the first and nothing needs it: no portal's key, no token, no record in the queue. The
    records are looked through one by one, which takes a while; what waits in the spools of hosts is not looked at.
    """
    from .rotating import usage
    from .running import run
    from .terminal.output import show

    found = run(usage(_with_keys(context), looks_at_records=not no_records))
    show([one.row() for one in found], as_json=as_json)


def _with_keys(context: typer.Context) -> "Settings":
    settings = invocation(context).settings()
    if not settings.seal_keys:
        raise WrongUsage("there are no seal_keys; make one with: forebay keys new")
    return settings
