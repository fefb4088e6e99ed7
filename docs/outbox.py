"""Writes a bill for each new deal, once, and tells another system of it, under a key by which it knows a repetition."""

import os
import time

from sqlalchemy import Column, Integer, MetaData, String, Table, create_engine, delete, insert, select

from forebay import Handlers
from forebay.processors.idempotence import Ledger

handlers = Handlers()

engine = create_engine(os.environ.get("SHOP_DATABASE", "sqlite:///shop.db"))

ledger = Ledger("bills")

tables = MetaData()
bills = Table("bill", tables, Column("portal", String(255)), Column("deal", String(20)))
outbox = Table(
    "outbox", tables, Column("id", Integer, primary_key=True), Column("key", String(200)), Column("text", String)
)


@handlers.on("ONCRMDEALADD")
def deal_added(event):
    deal = event.data["FIELDS"]["ID"]
    with engine.begin() as connection:
        # One commit: the claim, the bill, and that somebody is to be told. None of them is there without the others.
        if ledger.claim(connection, event.id):
            connection.execute(insert(bills).values(portal=event.portal, deal=deal))
            connection.execute(insert(outbox).values(key=event.id, text=f"a bill for deal {deal} of {event.portal}"))


def send_waiting(send):
    """Give `send` what waits in the outbox, in its order: key and text. Raises what it raises, and keeps the rest."""
    with engine.connect() as connection:
        waiting = connection.execute(select(outbox).order_by(outbox.c.id)).all()
    for row in waiting:
        # Whoever dies between these two sends it again, under the same key.
        send(row.key, row.text)
        with engine.begin() as connection:
            connection.execute(delete(outbox).where(outbox.c.id == row.id))


def prepare():
    """Make the tables."""
    ledger.create(engine)
    tables.create_all(engine)


if __name__ == "__main__":
    prepare()
    while True:
        send_waiting(print)
        time.sleep(1)
