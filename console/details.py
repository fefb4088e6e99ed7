"""Everything that is known of a letter."""

from collections.abc import Sequence

from forebay.schemas import names
from forebay.schemas.codec import UndecodableEvent, codec

from .letters import Letter, headers_of
from .output import clean, line, show_json
from .tail import event_row

#: Of a body that is no event, so much is shown.
_SHOWN_CHARS = 4000


def show_details(letters: Sequence[Letter], *, as_json: bool) -> None:
    """Print the letters, each as one object or as a page."""
    for letter in letters:
        details = _details(letter)
        if as_json:
            show_json([details])
        else:
            _page(details)


def _details(letter: Letter) -> dict[str, object]:
    headers = headers_of(letter.record)
    return {
        **letter.row(),
        "group": headers.get(names.DEAD_GROUP),
        "handler": headers.get(names.DEAD_HANDLER),
        "path": headers.get(names.QUARANTINE_PATH),
        "query": headers.get(names.QUARANTINE_QUERY),
        "traceback": headers.get(names.DEAD_TRACEBACK),
        **_content(letter),
    }


def _content(letter: Letter) -> dict[str, object]:
    """The event; of what is none, the beginning of its bytes as text, unless they are sealed: they hold secrets."""
    try:
        return {"event": event_row(codec().decode(letter.record.value)), "body": None, "sealed_with": None}
    except UndecodableEvent:
        key_id = headers_of(letter.record).get(names.QUARANTINE_KEY_ID)
        body = letter.record.value[:_SHOWN_CHARS].decode("utf-8", errors="backslashreplace")
        return {"event": None, "body": None if key_id else body, "sealed_with": key_id}


def _page(details: dict[str, object]) -> None:
    import orjson

    for name, value in details.items():
        if isinstance(value, dict):
            line(f"{name}:\n{orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()}")
        elif isinstance(value, str) and "\n" in value:
            line(f"{name}:\n" + "\n".join(f"  {clean(part)}" for part in value.splitlines()))
        elif value is not None:
            line(f"{name}: {clean(str(value))}")
    line("")
