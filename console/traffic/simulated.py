"""Portals that don't exist, and bodies as real ones would send them (shapes: tests/data/bitrix24)."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from urllib.parse import quote_plus

#: Reserved for examples (RFC 2606): no portal is ever called like this.
_DOMAIN = "portal-{number}.bitrix24.example"

#: Where a body has its portal's sequence number.
SEQUENCE_PATH = "data[FIELDS][ID]"

#: Numbers drawn for ids of deals, chats and messages.
_IDS = 1_000_000

_TEXTS = (
    "Добрый день! Подскажите, когда будет доставка?",
    "Счёт № 1024 оплачен, спасибо",
    "Could you call me back after 15:00?",
    "[b]Светлана Иванова:[/b] договор & акт во вложении",
    "Привет 👋",
)
_NAMES = ("Иван", "Светлана", "Айгерим", "John", "Łukasz", "O'Brien")

#: How an event of each kind looks: its weight in the mix, its code, and the data behind the sequence number. `{…}` is
#: drawn for each event.
_SHAPES: tuple[tuple[int, str, tuple[tuple[str, str], ...]], ...] = (
    (20, "ONCRMDEALADD", ()),
    (30, "ONCRMDEALUPDATE", ()),
    (15, "ONCRMCONTACTUPDATE", ()),
    (5, "ONCRMLEADADD", ()),
    (8, "ONCRMDYNAMICITEMUPDATE", (("data[FIELDS][ENTITY_TYPE_ID]", "1220"),)),
    (3, "CATALOG.PRODUCT.ON.UPDATE", (("data[FIELDS][TYPE]", "1"),)),
    (
        5,
        "ONTASKUPDATE",
        (
            ("data[FIELDS_BEFORE][ID]", "{id}"),
            ("data[FIELDS_AFTER][ID]", "{id}"),
            ("data[IS_ACCESSIBLE_BEFORE]", "undefined"),
            ("data[IS_ACCESSIBLE_AFTER]", "undefined"),
        ),
    ),
    (
        4,
        "ONTASKCOMMENTADD",
        (
            ("data[FIELDS_BEFORE]", "undefined"),
            ("data[FIELDS_AFTER][ID]", "0"),
            ("data[FIELDS_AFTER][MESSAGE_ID]", "{id}"),
            ("data[FIELDS_AFTER][TASK_ID]", "{other}"),
        ),
    ),
    (
        4,
        "ONIMBOTMESSAGEADD",
        (
            ("data[BOT][567][access_token]", "{token}"),
            ("data[BOT][567][scope]", "imbot"),
            ("data[BOT][567][user_id]", "567"),
            ("data[BOT][567][application_token]", "{token}"),
            ("data[BOT][567][BOT_CODE]", "support_bot"),
            ("data[PARAMS][MESSAGE]", "{text}"),
            ("data[PARAMS][DIALOG_ID]", "chat{other}"),
            ("data[PARAMS][MENTIONED_LIST][567]", "567"),
            ("data[PARAMS][MESSAGE_ID]", "{id}"),
            ("data[USER][NAME]", "{name}"),
            ("data[USER][WORK_POSITION]", ""),
        ),
    ),
    (
        3,
        "ONIMCONNECTORMESSAGEADD",
        (
            ("data[CONNECTOR]", "myconnector"),
            ("data[LINE]", "107"),
            ("data[MESSAGES][0][im][chat_id]", "{other}"),
            ("data[MESSAGES][0][im][message_id]", "{id}"),
            ("data[MESSAGES][0][message][user_id]", "27"),
            ("data[MESSAGES][0][message][text]", "{text}"),
        ),
    ),
    (
        3,
        "ONUSERADD",
        (
            ("data[ID]", "{id}"),
            ("data[ACTIVE]", "Y"),
            ("data[EMAIL]", "user{other}@example.com"),
            ("data[NAME]", "{name}"),
            ("data[UF_DEPARTMENT][0]", "1"),
            ("data[UF_DEPARTMENT][1]", "2"),
            ("data[WORK_POSITION]", "Разработчик"),
        ),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedPortal:
    """A portal: who it is in the queue, and the end of each body that it sends."""

    domain: str
    member_id: str
    auth: str


class Bodies:
    """Writes bodies. The same seed, portals and calls give the same bodies, but for the time in them."""

    def __init__(self, portals: int, token: str, rng: Random) -> None:
        self.portals = [_portal(number, token, rng) for number in range(1, portals + 1)]
        self._rng = rng
        self._templates = [template for weight, code, data in _SHAPES for template in [_template(code, data)] * weight]
        self._texts, self._names = _quoted(_TEXTS), _quoted(_NAMES)

    def body(self, portal: SimulatedPortal, sequence: int, now: float) -> bytes:
        """The portal's event of that number, as it is sent at that time (seconds since the epoch)."""
        rng = self._rng
        template = rng.choice(self._templates)
        head = template.format(
            sequence=sequence,
            id=rng.randrange(_IDS),
            other=rng.randrange(_IDS),
            text=rng.choice(self._texts),
            name=rng.choice(self._names),
            token=_hex(rng),
        )
        return f"{head}&ts={int(now)}{portal.auth}".encode()


def _template(code: str, data: Sequence[tuple[str, str]]) -> str:
    pairs = [("event", code), ("event_handler_id", "58"), (SEQUENCE_PATH, "{sequence}"), *data]
    # Percent-encoding leaves no brace, so those in the values are put back for str.format.
    return "&".join(f"{quote_plus(path)}={quote_plus(value, safe='{}')}" for path, value in pairs)


def _portal(number: int, token: str, rng: Random) -> SimulatedPortal:
    domain, member_id = _DOMAIN.format(number=number), _hex(rng)
    who = {
        "domain": domain,
        "server_endpoint": "https://oauth.bitrix24.tech/rest/",
        "client_endpoint": f"https://{domain}/rest/",
        "member_id": member_id,
    }
    oauth = {
        "access_token": _hex(rng) + _hex(rng),
        "expires_in": "3600",
        "scope": "crm,task,imbot",
        "status": "L",
        "user_id": str(rng.randrange(1, 500)),
    }
    # Every third is an outgoing webhook, which has no OAuth tokens.
    auth = (who if number % 3 == 0 else oauth | who) | {"application_token": token}
    pairs = "".join(f"&auth%5B{key}%5D={quote_plus(value)}" for key, value in auth.items())
    return SimulatedPortal(domain=domain, member_id=member_id, auth=pairs)


def _quoted(texts: Sequence[str]) -> list[str]:
    return [quote_plus(text) for text in texts]


def _hex(rng: Random) -> str:
    return f"{rng.getrandbits(128):032x}"
