"""Which groups a process runs."""

import pytest
from structlog.testing import capture_logs

from forebay import Handlers, PortalEvent
from forebay.console.errors import WrongUsage
from forebay.console.processes.groups import groups_of
from forebay.console.processes.worker import _tell_handlers


async def handle(event: PortalEvent) -> None: ...


def of(*groups: str | None) -> Handlers:
    handlers = Handlers()
    for group in groups:
        handlers.on("*", group=group)(handle)
    return handlers


@pytest.mark.parametrize(
    ("handlers", "only", "runs"),
    [
        (of(None), None, ["forebay"]),
        (of(), None, ["forebay"]),
        (of(None, "audit"), None, ["forebay", "audit"]),
        (of("audit"), None, ["audit"]),
        (of("forebay"), None, ["forebay"]),
        (of(None), "shop", ["shop"]),
        (of(None, "audit"), "audit", ["audit"]),
        (of(None, "audit"), "shop", ["shop"]),
    ],
)
def test_a_process_runs_every_group_or_the_one_that_was_asked_for(
    handlers: Handlers, only: str | None, runs: list[str]
) -> None:
    found = groups_of(handlers, "forebay", only)

    assert list(found) == runs
    for group, mine in found.items():
        named = group if group in handlers.groups() else None
        assert [one.options.group for one in mine] == [named] * min(1, len(handlers))


@pytest.mark.parametrize("only", [None, "forebay"])
def test_the_default_group_is_whole_also_when_it_is_asked_for_by_name(only: str | None) -> None:
    handlers = Handlers()
    handlers.on("ONCRMDEALADD")(handle)
    handlers.on("ONTASKADD", group="forebay")(handle)

    found = groups_of(handlers, "forebay", only)

    assert {group: [one.pattern for one in mine] for group, mine in found.items()} == {
        "forebay": ["ONCRMDEALADD", "ONTASKADD"]
    }


def test_a_group_that_is_not_asked_for_keeps_no_other_from_running() -> None:
    handlers = of(None, "forebay", "audit")

    assert list(groups_of(handlers, "forebay", "audit")) == ["audit"]


def test_a_group_that_nobody_is_in_is_wrong_usage() -> None:
    with pytest.raises(WrongUsage, match="no handler is in the group shop; there are audit"):
        groups_of(of("audit"), "forebay", "shop")


def test_a_worker_says_which_groups_take_events_and_warns_of_one_that_would_drop_all() -> None:
    with capture_logs() as logs:
        _tell_handlers("events", {"forebay": of(None), "audit": of()})

    assert [(log["log_level"], log["group"]) for log in logs] == [("info", "forebay"), ("warning", "audit")]
