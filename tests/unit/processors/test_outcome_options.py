"""The options about groups, dedup and processes: what can't be, and what can't be together."""

from typing import Any

import pytest

from forebay.processors.errors import BadHandler
from forebay.processors.options import Options


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"dedup": "name"}, 'say "id", or give a function'),
        ({"dedup_s": 60}, "say dedup=… too"),
        ({"dedup": "id", "dedup_s": 0}, "more than 0 and at most 2592000"),
        ({"dedup": "id", "dedup_s": 2_592_001}, "more than 0 and at most 2592000"),
        ({"dedup": "id", "batch": 5}, "choose one of both"),
        ({"group": "a group"}, "a group's name has"),
    ],
)
def test_what_can_t_be_or_doesn_t_combine_is_refused(given: dict[str, Any], says: str) -> None:
    with pytest.raises(BadHandler, match=says):
        Options.checked(given)


@pytest.mark.parametrize("with_it", [{"rate": "2/s"}, {"coalesce": "entity"}, {"cpu": True}, {"group": "audit"}])
def test_dedup_goes_with_the_others(with_it: dict[str, Any]) -> None:
    assert Options.checked({"dedup": "id", "dedup_s": 60, **with_it}).dedup == "id"
