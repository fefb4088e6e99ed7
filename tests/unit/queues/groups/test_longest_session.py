"""No member's lease is taken for one by another clock, as one is that goes on for too long."""

from typing import cast

import pytest
from pydantic import ValidationError
from sqlalchemy import Connection

from forebay.queues.redis import scripts
from forebay.queues.settings import QueueSettings
from forebay.queues.sql.group_clock import GroupClock

LONGEST_S, NOW_MS = 300.0, 1_000_000


def test_a_session_has_a_longest() -> None:
    assert QueueSettings(session_s=LONGEST_S).session_s == LONGEST_S

    with pytest.raises(ValidationError, match="session_s"):
        QueueSettings(session_s=LONGEST_S + 1)


def test_its_lease_is_believed_by_members_whose_own_is_short() -> None:
    clock = GroupClock(lambda connection: NOW_MS, session_ms=1000)

    assert clock.look(cast(Connection, None)).farthest_ms > NOW_MS + LONGEST_S * 1000
    assert scripts._FARTHEST_MS > LONGEST_S * 1000
