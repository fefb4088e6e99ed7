"""Events whose secrets are sealed by a key of their portal, in a worker."""

from base64 import b64encode
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from forebay.processors.testing import event
from forebay.schemas.codec import codec
from forebay.schemas.data_keys import Named, wrap
from forebay.schemas.event import PortalEvent, Sealed
from tests.cpu import work
from tests.waiting import until

from .conftest import Station

SEAL_KEY, DATA_KEY, NONCE = bytes(32), b"d" * 32, b"1" * 12
KEYS = {"k1": b64encode(SEAL_KEY).decode()}
MINE = Named("m1", "1")


@dataclass
class Store:
    """What the worker knows of the portals' keys."""

    keys: dict[Named, bytes] = field(default_factory=dict)
    comes: bool = False
    asked: int = 0
    #: As the worker's own it can't go into another process.
    lock: Lock = field(default_factory=Lock)

    def wrapped(self, named: Named) -> bytes | None:
        return self.keys.get(named)

    def may_come(self, named: Named, sealed_at: datetime) -> bool:
        self.asked += 1
        return self.comes and named not in self.keys

    def is_gone(self, named: Named, sealed_at: datetime) -> bool:
        return not self.comes and named not in self.keys


def sealed(number: int, file: str = "", whose: Named = MINE) -> bytes:
    event_id = f"00000000-0000-4000-8000-00000000000{number}"
    made = event("ONCRMDEALADD", data={"FILE": file}, id=event_id, portal="a.ru")
    ciphertext = AESGCM(DATA_KEY).encrypt(NONCE, b'[["auth[access_token]","t"]]', made.id.encode())
    names = ("id", "portal", "member_id", "kind", "name", "occurred_at", "subscription")
    return codec().encode(
        PortalEvent(
            **{name: getattr(made, name) for name in names},
            received_at=datetime.now(UTC),
            sealed=Sealed(key_id=str(whose), nonce=NONCE, ciphertext=ciphertext),
            body=lambda: made._body,
        )
    )


async def test_an_event_that_is_here_before_its_portals_key_waits_for_it_without_a_try(station: Station) -> None:
    store, opened = Store(comes=True), list[dict[str, str]]()

    @station.handlers.on("*")
    async def handle(event: PortalEvent) -> None:
        opened.append(event.secrets(KEYS))

    station.start(data_keys=store, tries=1)
    await station.send("a.ru", value=sealed(1))
    await until(lambda: store.asked > 2)
    assert not opened

    store.keys[MINE] = wrap(DATA_KEY, MINE, {"k1": SEAL_KEY}, NONCE)
    await until(lambda: opened)

    assert opened == [{"auth[access_token]": "t"}] and not station.dead()


async def test_an_event_whose_portals_key_was_shredded_is_given_up_at_once_when_its_handler_needs_it(
    station: Station,
) -> None:
    seen = list[str]()

    @station.handlers.on("*")
    def handle(event: PortalEvent) -> None:
        seen.append(event.id)
        if len(seen) == 1:
            event.secrets(KEYS)

    station.start(data_keys=Store())
    await station.send("a.ru", value=sealed(1))
    await station.send("a.ru", value=sealed(2))
    await until(lambda: len(seen) == 2)

    await until(lambda: len(station.dead()) == 1)
    headers = dict(station.dead()[0].headers)
    assert headers["forebay_dead_attempts"] == b"1" and b"is gone" in headers["forebay_dead_error"]


async def test_in_another_process_too_what_is_known_of_an_events_key_is_known(station: Station, tmp_path: Path) -> None:
    file = tmp_path / "opened"
    station.handlers.on("*", cpu=True)(work.secrets)
    station.start(data_keys=Store({MINE: wrap(DATA_KEY, MINE, {"k1": SEAL_KEY}, NONCE)}))
    plain = event("ONCRMDEALADD", data={"FILE": str(file)}, portal="a.ru")

    await station.send("a.ru", value=sealed(1, str(file)))
    await station.send("a.ru", value=sealed(2, str(file), Named("m1", "shredded")))
    await station.send("a.ru", value=codec().encode(plain))

    await until(lambda: station.committed() == 3)
    assert file.read_text().splitlines() == ["{'auth[access_token]': 't'}", "SecretsShredded", "{}"]
