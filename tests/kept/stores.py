"""What stands in stores and on disks: the spool, queues, gaps, and what is known of portals."""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson
from sqlalchemy import Dialect, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.mysql.mariadb import MariaDBDialect
from sqlalchemy.schema import CreateTable

from forebay.ingest.gaps.book import left_books, own_book
from forebay.ingest.gaps.gap import Gap
from forebay.ingest.portals import homes, shreddings
from forebay.ingest.spool.folder import Folder
from forebay.ingest.spool.kept import Put
from forebay.ingest.spool.store import Store
from forebay.processors import analytics, idempotence
from forebay.processors.dedup.table import mark
from forebay.queues.contract import Commit
from forebay.queues.opening import open_queue
from forebay.queues.portals import facts
from forebay.queues.portals.book import Book
from forebay.queues.portals.contract import Fact, PlacedFact
from forebay.queues.portals.members import DataKey
from forebay.queues.portals.tokens import TokenKeys
from forebay.queues.rabbitmq import logs, places
from forebay.queues.redis.keys import Keys
from forebay.queues.settings import QueueSettings
from forebay.queues.sql import tables
from forebay.schemas.data_keys import Named, unwrap, wrap
from tests.integration.queue_contract.parts import PARTITIONS, member, read_all

from .sample import AT_MS, KEPT, MEMBER, NONCE, PORTAL, RECORD, SEAL_KEYS, Format, packed, same, stands

_DATA_KEY = bytes(range(32, 64))
_GAP = Gap(portal=PORTAL, member_id=None, endpoint="/bitrix24", verified=True, from_ms=AT_MS, to_ms=AT_MS + 9, calls=3)


def _gap_file() -> bytes:
    with TemporaryDirectory() as folder:
        book = own_book(Path(folder))
        assert book is not None
        book.write(_GAP)
        book.close()
        # Most of it is room for more.
        return book.path.read_bytes().rstrip(b"\0")


def _gaps(octets: bytes) -> object:
    with TemporaryDirectory() as folder:
        (Path(folder) / "gaps-0").write_bytes(octets)
        [book] = left_books(Path(folder))
        book.close()
        return book.gaps


_TOKENS = TokenKeys(SEAL_KEYS)


def _digest() -> bytes:
    return _TOKENS.digest("app", MEMBER, "a token")


def _facts() -> list[Fact]:
    era = "0f"

    def key(kind: str, part: str) -> facts.Key:
        return facts.Key(MEMBER, era, kind, part)

    proof = {"app": "app", "key": "2026", "domain": PORTAL, "at": AT_MS, "how": "call"}
    trial = {
        "app": "other",
        "key": "2026",
        "domain": PORTAL,
        "at": AT_MS,
        "trial": facts.as_text(b"t"),
        "refused": "no",
    }
    return [
        facts.new_era(MEMBER, era),
        facts.fact(key(facts.HOME, "0a"), {"portal": PORTAL}),
        facts.fact(key(facts.PROOF, _digest().hex()), proof),
        facts.fact(key(facts.PIN, "abcd"), trial),
        facts.fact(key(facts.DOMAIN, facts.part_of(PORTAL)), {"domain": PORTAL}),
        facts.fact(key(facts.LEFT, facts.part_of("gone")), {"app": "gone", "at": AT_MS}),
        facts.fact(key(facts.DATA_KEY, "0b"), {"wrapped": facts.as_text(b"wrapped")}),
        facts.fact(key(facts.SHREDDED, "0c"), {}),
    ]


def _learnt(octets: bytes) -> object:
    book = Book()
    for offset, (key, value) in enumerate(orjson.loads(octets)):
        book.apply(PlacedFact(offset, key, value.encode()))
    member = book.members[MEMBER]
    pins = [(pin.digest, pin.proof and tuple(pin.proof), pin.seen and tuple(pin.seen)) for pin in member.pins]
    return member.portal, member.era, member.domains, pins, member.left, member.given_keys, member.shredded


_DATA_KEY_OF = Named(MEMBER, "0b")
_SHREDDING = shreddings.Shredding(member_id=MEMBER, portal=PORTAL, application="app.1", at_ms=AT_MS, keys={"0b", "0c"})


def _tables(dialect: Dialect) -> bytes:
    texts = (str(CreateTable(table).compile(dialect=dialect)) for table in tables.metadata.sorted_tables)
    return f"version {tables.VERSION}: {' '.join(' '.join(texts).split())}".encode()


def _in_folder(work: Callable[[Path], Any]) -> Any:
    with TemporaryDirectory() as folder:
        return work(Path(folder))


def _dump(file: Path) -> bytes:
    with closing(sqlite3.connect(file)) as opened:
        [(version,)] = opened.execute("PRAGMA user_version")
        return "\n".join((f"PRAGMA user_version = {version};", *opened.iterdump())).encode()


def _restore(file: Path, dump: bytes) -> None:
    file.parent.mkdir(exist_ok=True)
    with closing(sqlite3.connect(file)) as opened:
        opened.execute("PRAGMA journal_mode = WAL")
        opened.executescript(dump.decode())


def _spooled(folder: Path) -> bytes:
    store = Store(Folder(folder), 1 << 30)
    store.open()
    store.put([Put(stream="events", record=KEPT), Put(stream="events", record=KEPT, owner="who")])
    store.close()
    return _dump(Folder(folder).file(1))


def _from_spool(folder: Path, dump: bytes) -> object:
    _restore(Folder(folder).file(1), dump)
    store = Store(Folder(folder), 1 << 30)
    store.open()
    heads = store.heads(0, 10)
    found = [(one.stream, one.record, one.is_whole) for one in store.load([head.seq for head in heads])]
    store.close()
    return found, [(head.key, head.size, head.timestamp_ms, head.owner) for head in heads]


async def _queued(folder: Path) -> bytes:
    queue = open_queue(QueueSettings(data_dir=folder))
    await queue.ensure(["events"], PARTITIONS)
    producer = queue.producer()
    position = await producer.send("events", KEPT)
    async with member(queue, group="billing") as consumer:
        await consumer.commit({position.partition: Commit(offset=1, note=b"a note")})
    for part in (producer, queue):
        await part.close()
    return _dump(folder / "queue.db")


async def _from_queue(folder: Path, dump: bytes) -> object:
    _restore(folder / "queue.db", dump)
    queue = open_queue(QueueSettings(data_dir=folder))
    inspector = queue.inspector()
    found = [(one.partition, one.offset, one.key, one.value, one.headers) for one in await read_all(inspector)]
    groups = await inspector.groups("events")
    committed = {at: (one.offset, one.note) for at, one in groups["billing"].items() if one.offset}
    for part in (inspector, queue):
        await part.close()
    return found, committed


def _created(*tables: Table) -> bytes:
    # What a user's own database has of ours.
    made = (str(CreateTable(table).compile(dialect=postgresql.dialect())) for table in tables)  # type: ignore[no-untyped-call]
    return " ".join(" ".join(made).split()).encode()


STORES: dict[str, Format] = {
    "a record in RabbitMQ": Format(write=lambda: packed(RECORD), read=stands, means=RECORD),
    "a RabbitMQ stream's first entry": same(lambda: places.birth() + logs.birth()),
    "Redis keys": same(
        lambda: " ".join(
            (
                *(getattr(Keys("events"), name) for name in ("about", "ends", "starts", "groups", "offsets", "notes")),
                *(getattr(Keys("events"), name) for name in ("facts", "order", "gone", "news")),
                *(Keys("events").log(3), Keys("events").producer("p"), Keys("events").members("g")),
                Keys("events").leases("g"),
            )
        ).encode()
    ),
    "gaps": Format(write=_gap_file, read=_gaps, means=[_GAP]),
    "facts about a portal": Format(
        write=lambda: orjson.dumps([(key, (value or b"").decode()) for key, value in _facts()]),
        read=_learnt,
        means=(
            PORTAL,
            "0f",
            (PORTAL,),
            [
                (_digest(), ("app", "2026", PORTAL, AT_MS, "call"), None),
                (bytes.fromhex("abcd"), None, ("other", "2026", PORTAL, AT_MS, b"t", "no")),
            ],
            (("gone", AT_MS),),
            (DataKey("0b", b"wrapped"),),
            ("0c",),
        ),
    ),
    "the hash of a portal's token": same(_digest),
    "what a token may still be verified with": Format(
        write=lambda: _TOKENS.seal("a trial", _digest(), NONCE),
        read=lambda found: _TOKENS.unsealed(found, _digest(), "2026"),
        means="a trial",
    ),
    "a portal's own key": Format(
        write=lambda: wrap(_DATA_KEY, _DATA_KEY_OF, SEAL_KEYS, NONCE),
        read=lambda found: unwrap(found, _DATA_KEY_OF, SEAL_KEYS),
        means=_DATA_KEY,
    ),
    "a shredding that is to be done": Format(
        write=lambda: shreddings.packed(_SHREDDING), read=shreddings.unpacked, means=_SHREDDING
    ),
    "keys of renamed portals": Format(
        write=lambda: homes.packed({MEMBER: PORTAL}), read=homes.unpacked, means={MEMBER: PORTAL}
    ),
    "the tables of a ledger and of counts": same(lambda: _created(idempotence._ledger, analytics._counts)),
    "the tables of what was handled": same(lambda: _created(mark)),
    "the tables in SQLite": same(lambda: _tables(sqlite.dialect())),
    "the tables in PostgreSQL": same(lambda: _tables(postgresql.dialect())),  # type: ignore[no-untyped-call]
    "the tables in MariaDB": same(lambda: _tables(MariaDBDialect())),
    "a queue in SQLite": Format(
        write=lambda: bytes(_in_folder(lambda folder: asyncio.run(_queued(folder)))),
        read=lambda found: _in_folder(lambda folder: asyncio.run(_from_queue(folder, found))),
        means=([(1, 0, PORTAL, KEPT.value, KEPT.headers)], {1: (1, b"a note")}),
        varies=True,
    ),
    "the spool": Format(
        write=lambda: bytes(_in_folder(_spooled)),
        read=lambda found: _in_folder(lambda folder: _from_spool(folder, found)),
        means=([("events", KEPT, True)] * 2, [(PORTAL, 226, AT_MS, None), (PORTAL, 226, AT_MS, "who")]),
    ),
}
