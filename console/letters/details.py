"""Everything that is known of a letter."""

from collections.abc import Mapping, Sequence

from forebay.console.event_rows import event_row
from forebay.console.terminal.output import clean, line, show_json
from forebay.schemas import names
from forebay.schemas.codec import Codec
from forebay.schemas.errors import UndecodableEvent

from .letters import Letter, headers_of
from .unsealing import CannotOpen, body_text


def show_details(letters: Sequence[Letter], keys: Mapping[str, bytes], codec: Codec, *, as_json: bool) -> None:
    """Print the letters, each as one object or as a page. The keys open sealed bodies."""
    for letter in letters:
        details = details_of(letter, keys, codec)
        if as_json:
            show_json([details])
        else:
            _page(details)


def details_of(letter: Letter, keys: Mapping[str, bytes], codec: Codec) -> dict[str, object]:
    """Name → value, of which some are None. The keys open a sealed body."""
    headers = headers_of(letter.record)
    return {
        **letter.row(),
        "group": headers.get(names.DEAD_GROUP),
        "handler": headers.get(names.DEAD_HANDLER),
        "traceback": headers.get(names.DEAD_TRACEBACK),
        **_content(letter, headers, keys, codec),
        "sealed_with": headers.get(names.QUARANTINE_KEY_ID),
    }


def _content(letter: Letter, headers: Mapping[str, str], keys: Mapping[str, bytes], codec: Codec) -> dict[str, object]:
    """The event with its address; of what is none, the body as text, or why it can't be read."""
    try:
        event = codec.decode(letter.record.value)
        shown = event_row(event)
    except UndecodableEvent:
        address = {"path": headers.get(names.QUARANTINE_PATH), "query": headers.get(names.QUARANTINE_QUERY)}
        try:
            return {**address, "event": None, "body": body_text(letter.record, keys), "unreadable": None}
        except CannotOpen as error:
            return {**address, "event": None, "body": None, "unreadable": str(error)}
    return {"path": event.path, "query": event.query, "event": shown, "body": None, "unreadable": None}


def _page(details: dict[str, object]) -> None:
    import orjson

    for name, value in details.items():
        if isinstance(value, dict):
            # JSON itself lets C1 control characters through.
            shown = orjson.dumps(value, option=orjson.OPT_INDENT_2).decode().split("\n")
            line(f"{name}:\n" + "\n".join(map(clean, shown)))
        elif isinstance(value, str) and "\n" in value:
            line(f"{name}:\n" + "\n".join(f"  {clean(part)}" for part in value.splitlines()))
        elif value is not None:
            line(f"{name}: {clean(str(value))}")
    line("")
