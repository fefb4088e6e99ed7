"""An event on its way into another process."""

import pickle
from dataclasses import replace

import pytest

from forebay.processors.testing import event
from forebay.schemas.codec import codec, new_codec
from forebay.schemas.event import PortalEvent
from forebay.schemas.versions import schema_texts

MADE = event("ONCRMDEALADD", data={"FIELDS": {"ID": 7, "TAGS": ["a", "б"]}}, portal="shop.bitrix24.ru")
LONG = replace(MADE, portal="s" * 64)


def by_registry() -> PortalEvent:
    taught = new_codec()
    taught.learn(77, schema_texts()[-1])
    taught.write_with(77)
    return taught.decode(taught.encode(MADE))


@pytest.mark.parametrize(
    "given",
    [codec().decode(codec().encode(MADE)), codec().decode(codec().encode(LONG)), by_registry()],
    ids=["a usual one", "one that fastavro reads", "written with a registry's id"],
)
def test_it_is_the_same_there_looked_at_before_or_not(given: PortalEvent) -> None:
    for _ in range(2):
        there: PortalEvent = pickle.loads(pickle.dumps(given))  # noqa: S301 - our own bytes

        assert there == given
        assert (there.data, there.auth, dict(there.fields)) == (MADE.data, MADE.auth, dict(MADE.fields))
        assert given.data


def test_what_it_stands_for_goes_with_it() -> None:
    there: PortalEvent = pickle.loads(pickle.dumps(MADE.standing_for(3)))  # noqa: S301 - our own bytes

    assert there.folded == 3
    assert there.data == MADE.data
