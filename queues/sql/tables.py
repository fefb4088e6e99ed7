"""The tables. Times are in milliseconds since the epoch."""

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, MetaData, String, Table

#: Raised with every change of the tables; a program refuses a database that is newer than it knows.
VERSION = 1

#: A topic's 200 characters, our suffix, and room.
_NAME = String(255)

# PostgreSQL's text has no zero byte, and is in the encoding of its database: a key is any text.
_KEY = String(255).with_variant(LargeBinary(), "postgresql")


# No foreign keys: SQLite would not check them, and PostgreSQL would look up each record's stream to no end.
metadata = MetaData()

meta = Table(
    "forebay_meta",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("value", BigInteger, nullable=False),
)

stream = Table(
    "forebay_stream",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", _NAME, nullable=False, unique=True),
    Column("partitions", Integer, nullable=False),
)

# `next_offset` is SQLite's; PostgreSQL counts elsewhere (postgresql/statements.py says why), and leaves 0 here.
partition = Table(
    "forebay_partition",
    metadata,
    Column("stream", Integer, primary_key=True, autoincrement=False),
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("next_offset", BigInteger, nullable=False),
    Column("first_offset", BigInteger, nullable=False),
)

# The time stands before the bulky columns: looking for a time then needs no overflow page.
record = Table(
    "forebay_record",
    metadata,
    Column("stream", Integer, primary_key=True, autoincrement=False),
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("offset", BigInteger, primary_key=True, autoincrement=False),
    Column("timestamp_ms", BigInteger, nullable=False),
    Column("key", _KEY, nullable=False),
    Column("headers", LargeBinary, nullable=False),
    Column("value", LargeBinary, nullable=False),
)

claim = Table(
    "forebay_claim",
    metadata,
    Column("group", _NAME, primary_key=True),
    Column("stream", Integer, primary_key=True, autoincrement=False),
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("owner", _NAME),
    Column("epoch", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("note", LargeBinary, nullable=False),
)

# The last fact of each key about the portals of a topic; `offset` is its place in their order. Without a value it was
# taken back, and stays for a while so that those who follow learn of it.
portal = Table(
    "forebay_portal",
    metadata,
    Column("stream", Integer, primary_key=True, autoincrement=False),
    Column("key", String(255), primary_key=True),
    Column("offset", BigInteger, nullable=False),
    Column("timestamp_ms", BigInteger, nullable=False),
    Column("value", LargeBinary),
    Index("forebay_portal_offset", "stream", "offset", unique=True),
)

member = Table(
    "forebay_member",
    metadata,
    Column("group", _NAME, primary_key=True),
    Column("stream", Integer, primary_key=True, autoincrement=False),
    Column("member", _NAME, primary_key=True),
    Column("expires_at", BigInteger, nullable=False),
)
