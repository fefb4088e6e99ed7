"""No member's lease is taken for one by another clock, as one is that goes on for too long."""

import pytest
from pydantic import ValidationError

from forebay.queues.groups.leaps import FARTHEST_MS
from forebay.queues.settings import QueueSettings

LONGEST_S = 300.0


def test_the_longest_session_is_believed_by_members_whose_own_is_short() -> None:
    assert QueueSettings(session_s=LONGEST_S).session_s * 1000 < FARTHEST_MS

    with pytest.raises(ValidationError, match="session_s"):
        QueueSettings(session_s=LONGEST_S + 1)
