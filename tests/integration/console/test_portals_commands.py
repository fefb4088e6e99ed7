"""`forebay portals`, as one calls it."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from falcon.testing import TestClient
from typer.testing import CliRunner, Result

from forebay.console.cli import build
from forebay.console.known_portals import known
from forebay.console.pages.app import create_app
from forebay.console.settings import load_settings
from forebay.console.terminal.output import cell
from forebay.queues.errors import QueueUnavailable, UnknownStream
from forebay.queues.memory import MemoryQueue
from forebay.queues.portals.memory import FactLog
from forebay.queues.portals.registry import PortalRegistry
from forebay.schemas import names
from forebay.schemas.errors import ForebayError
from tests.bitrix24.oauth import FakeOAuth, Installed
from tests.pages import shown

APPLICATION, MEMBER, TOKEN, ACCESS = "app.1", "c0ffee", "51856fefc120afa4b628cc82d3935cce", "an-access-token"
FIRST, SECOND = "first.bitrix24.com", "second.bitrix24.com"
KEY = "A" * 43 + "="
TOPIC = "bitrix24.events"

SUMMARY = {"member_id", "portal", "domains", "state", "verified", "waiting", "since", "keys", "data_keys"}
DETAIL = {"member_id", "portal", "domains", "application", "state", "how", "at", "domain", "key", "why", "left"}


class Desk:
    """The commands on a queue in a folder of their own."""

    def __init__(self, oauth: FakeOAuth) -> None:
        self.oauth = oauth

    def command(self, *arguments: str, input: str | None = None) -> Result:
        done = CliRunner().invoke(build(), list(arguments), input=input)
        if isinstance(done.exception, Exception) and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert TOKEN not in done.output, "a token on the screen"
        assert ACCESS not in done.output, "a token on the screen"
        return done

    def rows(self, *arguments: str, status: int = 0) -> list[dict[str, Any]]:
        done = self.command("portals", *arguments, "--json")
        assert done.exit_code == status, done.output
        return [json.loads(line) for line in done.stdout.splitlines()]

    def do(self, work: Any) -> None:
        """Something that an ingest does."""

        async def _do() -> None:
            async with known(load_settings().settings) as registry:
                await work(registry)

        asyncio.run(_do())


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.chdir(tmp_path)
    with FakeOAuth() as oauth:
        settings = {
            "AUTH": "registry",
            "CLIENT_ID": APPLICATION,
            "SEAL_KEYS": json.dumps({"2026": KEY}),
            "OAUTH_URLS": json.dumps([oauth.url]),
        }
        for name, value in settings.items():
            monkeypatch.setenv(f"FOREBAY_{name}", value)
        made = Desk(oauth)
        made.command("topics", "ensure")
        yield made
    structlog.reset_defaults()


async def seen(registry: PortalRegistry) -> None:
    await registry.see(APPLICATION, MEMBER, TOKEN, FIRST, ACCESS)
    await registry.following.refresh(10)


def test_a_portal_is_added_shown_and_forgotten(desk: Desk) -> None:
    nothing = desk.rows("list")
    added = desk.command("portals", "add", MEMBER, "--domain", f"https://{FIRST}/", "--token-file", "-", input=TOKEN)
    [summary] = desk.rows("list")
    [detail] = desk.rows("show", FIRST)
    forgotten = desk.command("portals", "forget", MEMBER, "--yes")

    assert nothing == []
    assert (added.exit_code, added.stdout) == (0, "")
    assert set(summary) == SUMMARY
    assert (summary["member_id"], summary["portal"], summary["state"]) == (MEMBER, FIRST, "verified")
    assert set(detail) == DETAIL
    assert (detail["how"], detail["key"], detail["application"]) == ("operator", "2026", APPLICATION)
    assert forgotten.exit_code == 0
    assert desk.rows("list") == []


def test_a_portal_whose_forgetting_got_no_answer_is_forgotten_by_what_is_told_then(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def written_and_lost(registry: PortalRegistry, member_id: str) -> None:
        await forget(registry, member_id)
        raise QueueUnavailable("no answer")

    desk.command("portals", "add", MEMBER, "--domain", FIRST, "--token-file", "-", input=TOKEN)
    forget = PortalRegistry.forget
    with monkeypatch.context() as losing:
        losing.setattr(PortalRegistry, "forget", written_and_lost)
        with pytest.raises(QueueUnavailable, match=f"no answer; .* `forebay portals forget {MEMBER}`"):
            desk.command("portals", "forget", FIRST, "--yes")

    again = desk.command("portals", "forget", MEMBER, "--yes")

    assert (again.exit_code, f"portal {MEMBER} is forgotten" in again.stderr) == (0, True)


def test_a_token_comes_from_a_file_or_is_asked_for_and_never_from_an_argument(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")

    of_file = desk.command("portals", "add", "a", "--domain", FIRST, "--token-file", str(tmp_path / "token"))
    asked = desk.command("portals", "add", "b", "--domain", SECOND, input=f"{TOKEN}\n")
    given = desk.command("portals", "add", "c", "--domain", FIRST, "some-token")

    assert (of_file.exit_code, asked.exit_code, given.exit_code) == (0, 0, 2)
    assert [row["member_id"] for row in desk.rows("list")] == ["a", "b"]


def test_an_added_token_is_the_one_that_an_ingest_looks_for(desk: Desk) -> None:
    desk.command("portals", "add", MEMBER, "--domain", FIRST, "--token-file", "-", input=f" {TOKEN}\n")

    async def look(registry: PortalRegistry) -> None:
        pin = registry.find(APPLICATION, MEMBER, TOKEN)
        assert pin and pin.proof

    desk.do(look)


def test_what_waits_is_verified_when_an_operator_asks(desk: Desk) -> None:
    desk.do(seen)
    [waiting] = desk.rows("list", "--state", "waiting")
    desk.oauth.answer = (503, b"")
    [silent] = desk.rows("verify", status=1)
    desk.oauth.answer = None
    desk.oauth.knows[ACCESS] = Installed(client_id=APPLICATION, member_id=MEMBER, domain=FIRST)

    [confirmed] = desk.rows("verify", MEMBER)

    assert (waiting["portal"], waiting["domains"]) == (None, FIRST)
    assert (silent["outcome"], confirmed["outcome"]) == ("unavailable", "confirmed")
    assert desk.rows("verify") == []
    assert [row["state"] for row in desk.rows("show", MEMBER)] == ["verified"]


def test_a_portal_that_is_none_is_shown_as_refused(desk: Desk) -> None:
    desk.do(seen)
    desk.oauth.knows[ACCESS] = Installed(client_id="app.another", member_id=MEMBER, domain=FIRST)

    [denied] = desk.rows("verify", status=1)

    assert denied["outcome"] == "denied"
    assert "another application" in desk.rows("show", MEMBER)[0]["why"]
    assert [row["state"] for row in desk.rows("list", "--state", "refused")] == ["refused"]


def test_a_renamed_portal_is_found_by_both_domains(desk: Desk) -> None:
    desk.command("portals", "add", MEMBER, "--domain", FIRST, "--token-file", "-", input=TOKEN)

    async def rename(registry: PortalRegistry) -> None:
        member = registry.member(MEMBER)
        assert member
        await registry.rename(member, SECOND)

    desk.do(rename)

    assert desk.rows("show", FIRST) == desk.rows("show", SECOND) == desk.rows("show", MEMBER)
    assert desk.rows("list")[0]["domains"] == f"{FIRST} {SECOND}"
    assert desk.rows("list")[0]["portal"] == FIRST


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["show", "no body"], "is not a portal's domain"),
        (["show", "nobody.bitrix24.com"], "knows no portal"),
        (["list", "--state", "odd"], "there are verified"),
        (["add", "not an id", "--domain", FIRST, "--token-file", "-"], "not a member_id"),
        (["add", MEMBER, "--domain", "no domain", "--token-file", "-"], "not a portal's domain"),
        (["add", MEMBER, "--domain", FIRST, "--token-file", "/nowhere"], "can't be read"),
        (["add", MEMBER, "--domain", FIRST, "--client-id", "app.2", "--token-file", "-"], "there are app.1"),
    ],
)
def test_what_can_not_be_done_is_told(desk: Desk, arguments: list[str], told: str) -> None:
    with pytest.raises(ForebayError, match=told):
        desk.command("portals", *arguments, input="a-token")


@pytest.mark.parametrize(
    "arguments",
    [
        ["list"],
        ["show", FIRST],
        ["verify"],
        ["forget", MEMBER, "--yes"],
        ["add", MEMBER, "--domain", FIRST, "--token-file", "-"],
    ],
)
def test_a_topic_that_is_not_there_is_told_and_not_made(desk: Desk, arguments: list[str]) -> None:
    with pytest.raises(UnknownStream, match=r"no stream typo\.portals: is typo the topic"):
        desk.command("--topic", "typo", "portals", *arguments, input=TOKEN)

    assert "stream typo.portals" in desk.command("--topic", "typo", "topics", "plan").output


def test_where_nothing_is_kept_about_portals_the_settings_are_named(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CLIENT_ID", "SEAL_KEYS"):
        monkeypatch.delenv(f"FOREBAY_{name}")
    monkeypatch.setenv("FOREBAY_AUTH", "none")

    with pytest.raises(UnknownStream, match=r'kept about portals: .* neither auth = "registry" nor seal_keys'):
        desk.command("--topic", "another", "portals", "list")


def test_a_store_that_is_away_is_told_at_once(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = MemoryQueue()
    queue.fact_logs[names.portals(TOPIC)] = log = FactLog(names.portals(TOPIC))
    log.down = True
    monkeypatch.setattr("forebay.console.reading.open_queue", lambda settings: queue)
    monkeypatch.setattr("forebay.console.portal_keys._READ_S", 3600.0)

    with pytest.raises(QueueUnavailable, match="put down"):
        desk.command("portals", "list")


def test_the_page_of_operators_shows_the_same(desk: Desk) -> None:
    desk.do(seen)
    browser = TestClient(create_app(load_settings().settings))

    listed = shown(browser.simulate_get("/portals", host="localhost").text).tables[0]
    of_one = shown(browser.simulate_get(f"/portals/{FIRST}", host="localhost").text).tables[-1]
    unknown = browser.simulate_get("/portals/nobody.example", host="localhost")

    assert listed == [{name: cell(value) for name, value in row.items()} for row in desk.rows("list")] != []
    assert of_one == [{name: cell(value) for name, value in row.items()} for row in desk.rows("show", FIRST)] != []
    assert (unknown.status_code, "the registry knows no portal" in unknown.text) == (200, True)
