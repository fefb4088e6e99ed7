"""HTML, put together so that no value can become a part of it."""

from html import escape

from forebay.console.terminal.output import clean

#: Elements without content, and so without an end.
_VOID = frozenset(("input", "link", "meta"))


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def element(name: str, /, *content: str, **attributes: str | None) -> Html:
    """An element. Text in it and the attributes' values are escaped; an attribute that is None is left out."""
    given = "".join(
        f' {key.strip("_").replace("_", "-")}="{escape(clean(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    start = f"<{name}{given}>"
    return Html(start if name in _VOID else f"{start}{joined(*content)}</{name}>")


def joined(*content: str) -> Html:
    """One behind the other. What is no HTML is escaped, and control characters are written out, but for new lines."""
    return Html("".join(one if isinstance(one, Html) else escape(_printable(one)) for one in content))


def _printable(text: str) -> str:
    return "\n".join(map(clean, text.splitlines()))
