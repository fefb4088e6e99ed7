"""`forebay keys`, as one calls it, over an ingest's queue on SQLite."""

import asyncio
import errno
import json
import stat
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from falcon.testing import ASGIConductor
from typer.testing import CliRunner, Result

from forebay.console.cli import build
from forebay.console.errors import WrongUsage
from forebay.console.portal_keys import portals_of
from forebay.console.settings import Settings
from forebay.ingest.app import create_app
from forebay.ingest.settings import IngestSettings
from forebay.queues.errors import UnknownStream
from forebay.queues.opening import open_queue
from forebay.queues.portals.data_keys import DataKeys
from forebay.queues.portals.stored_keys import Keyring, StoredKeys
from forebay.schemas.codec import codec
from forebay.schemas.data_keys import wrapped_with
from forebay.schemas.event import CannotOpenSecrets
from tests.unit.ingest.conftest import EVENT, TOKEN

KEYS = {name: f"{name * 43}=" for name in ("A", "I", "Q")}
OPENED = {"auth[access_token]": "accessible"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


#: A slow machine gives each portal its key, too: a call that waited in vain is sealed by the seal key itself.
PATIENT = {"ack_deadline_ms": 30_000}


def run(*arguments: str, keys: str = "A") -> Result:
    environ = {"FOREBAY_SEAL_KEYS": json.dumps({name: KEYS[name] for name in keys})} if keys else {}
    return CliRunner().invoke(build(), ["keys", *arguments], env=environ)


def rows(*arguments: str, keys: str) -> list[dict[str, Any]]:
    done = run(*arguments, "--json", keys=keys)
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def settings_of(keys: str) -> Settings:
    return Settings.model_validate({"seal_keys": {name: KEYS[name] for name in keys}})


def sent(keys: str, *bodies: str, **more: Any) -> None:
    """Calls that an ingest with these keys has taken."""

    async def send() -> None:
        given = {"seal_keys": {name: KEYS[name] for name in keys}, "tokens": {"*": TOKEN}, **PATIENT, **more}
        settings = IngestSettings.model_validate(given)
        queue = open_queue(settings)
        ingest = create_app(settings, queue)
        async with ASGIConductor(ingest.app) as conductor:
            while (await conductor.simulate_get("/ready")).json["status"] != "ok":
                await asyncio.sleep(0.01)
            for body in bodies:
                assert (await conductor.simulate_post("/bitrix24", body=body)).status_code == 200

    asyncio.run(send())


def call(member: str) -> str:
    return EVENT.replace("member_id]=m1", f"member_id]={member}")


def stored(keys: str, look: Callable[[Any, StoredKeys], Coroutine[Any, Any, Any]]) -> Any:
    async def asked() -> Any:
        settings = settings_of(keys)
        queue = open_queue(settings)
        async with portals_of(queue, settings) as registry:
            await registry.following.reached(-1, 20)
            found = await look(queue, StoredKeys(registry))
        await queue.close()
        return found

    return asyncio.run(asked())


async def _opened(queue: Any, stored: StoredKeys, seal_keys: dict[str, bytes]) -> list[dict[str, str]]:
    inspector, ring = queue.inspector(), Keyring(seal_keys, stored)
    bounds = await inspector.bounds("bitrix24.events")
    found = [await inspector.read("bitrix24.events", at, one.start, 1000) for at, one in bounds.items()]
    await inspector.close()
    return [codec().decode(record.value).secrets(ring) for records in found for record in records]


def opened(keys: str) -> list[dict[str, str]]:
    """The secrets of every event, by these keys."""
    seal_keys = settings_of(keys).seal_key_bytes()
    found: list[dict[str, str]] = stored(keys, lambda queue, keys: _opened(queue, keys, seal_keys))
    return found


def test_a_new_key_is_an_entry_for_the_settings(folder: Path) -> None:
    done = run("new", "--id", "k2", keys="A")

    settings = Settings.model_validate({"seal_keys": json.loads(done.stdout)})
    assert list(settings.seal_key_bytes()) == ["k2"]
    assert run("new", keys="").exit_code == 0


def test_a_file_with_a_new_key_behind_the_others_is_for_its_owner_alone_and_never_written_over(folder: Path) -> None:
    done = run("new", "--out", "keys.json", keys="A")
    again = run("new", "--out", "keys.json", keys="A")

    found = json.loads((folder / "keys.json").read_text())
    assert stat.S_IMODE((folder / "keys.json").stat().st_mode) == 0o600
    assert list(found)[:-1] == ["A"] and found["A"] == KEYS["A"]
    assert isinstance(again.exception, WrongUsage)
    new = found.pop(list(found)[-1])
    assert new not in done.output and new not in again.output


def test_a_file_that_the_disk_does_not_take_whole_is_told_and_not_left_in_the_way(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr("os.fsync", full)
        refused = run("new", "--out", "keys.json", keys="A")
    again = run("new", "--out", "keys.json", keys="A")

    assert isinstance(refused.exception, WrongUsage)
    assert "keys.json can't be written" in str(refused.exception)
    assert again.exit_code == 0, again.exception


@pytest.mark.parametrize("id", ["A", "portal/x"])
def test_an_id_that_is_taken_is_refused(folder: Path, id: str) -> None:
    assert isinstance(run("new", "--id", id, keys="A").exception, WrongUsage)


def test_rotating_wraps_every_portals_key_anew_and_then_the_old_seal_key_can_go(folder: Path) -> None:
    sent("A", *(call(f"m{number}") for number in range(5)))
    before = rows("status", keys="IA")

    (done,) = rows("rotate", keys="IA")
    (again,) = rows("rotate", keys="IA")
    after = rows("status", keys="IA")

    told = ("key", "role", "portals", "can_go")
    assert [tuple(row[name] for name in told) for row in before] == [("I", "seals", 0, False), ("A", "opens", 5, False)]
    assert (done, again["wrapped"]) == ({"key": "I", "portals": 5, "wrapped": 5, "stuck": 0}, 0)
    assert [tuple(row[name] for name in told) for row in after] == [("I", "seals", 5, False), ("A", "opens", 0, True)]
    assert opened("I") == [OPENED] * 5


def test_a_key_that_is_forgotten_meanwhile_is_not_counted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent("A", call("m1"))
    # As it is found just before it is written.
    monkeypatch.setattr(DataKeys, "find", lambda *_: None)

    (done,) = rows("rotate", keys="IA")

    assert (done["portals"], done["wrapped"], done["stuck"]) == (1, 0, 0)


def test_what_a_seal_key_has_sealed_itself_keeps_it(folder: Path) -> None:
    sent("A", call("m1"), auth="none", tokens={})
    sent("A", call("m1") + "&data[a][b][c][d][e]=1", max_depth=4, auth="none", tokens={})

    (_, old) = rows("status", keys="IA")
    (_, unseen) = rows("status", "--no-records", keys="IA")
    (_, _, missing) = rows("status", keys="IQ")

    assert (old["records"], old["in"], old["can_go"]) == (2, "bitrix24.events, bitrix24.events.quarantine", False)
    assert (unseen["records"], unseen["in"], unseen["can_go"]) == (None, "", False)
    assert (missing["key"], missing["role"], missing["can_go"]) == ("A", "missing", False)
    with pytest.raises(CannotOpenSecrets):
        opened("I")


def test_a_key_whose_seal_key_is_missing_stays_and_is_told(folder: Path) -> None:
    sent("A", call("m1"))

    done = run("rotate", "--json", keys="I")

    assert done.exit_code == 1
    assert json.loads(done.stdout.splitlines()[-1])["stuck"] == 1
    assert "wrapped by 'A', which was not given" in done.stderr
    assert opened("A") == [OPENED]


def test_keys_change_while_events_come_and_every_secret_opens_to_the_end(folder: Path) -> None:
    """The documented way: behind the others, in front, wrapped anew, and without the old one."""
    sent("A", call("m1"))
    sent("AI", call("m1"), call("m2"))
    sent("IA", call("m1"), call("m3"))
    assert opened("IA") == [OPENED] * 5
    rows("rotate", keys="IA")
    sent("IA", call("m2"))

    sent("I", call("m1"), call("m4"))

    assert opened("I") == [OPENED] * 8
    assert [row["can_go"] for row in rows("status", keys="IA")] == [False, True]


def test_without_seal_keys_there_is_nothing_to_rotate(folder: Path) -> None:
    assert isinstance(run("rotate", keys="").exception, WrongUsage)
    assert isinstance(run("status", keys="").exception, WrongUsage)


@pytest.mark.parametrize("arguments", [["status"], ["rotate"]])
def test_a_topic_that_is_not_there_is_told_and_not_made(folder: Path, arguments: list[str]) -> None:
    sent("A", call("m1"))
    environ = {"FOREBAY_SEAL_KEYS": json.dumps({"A": KEYS["A"]})}

    done = CliRunner().invoke(build(), ["--topic", "typo", "keys", *arguments], env=environ)
    plan = CliRunner().invoke(build(), ["--topic", "typo", "topics", "plan"], env=environ)

    assert isinstance(done.exception, UnknownStream)
    assert "is typo the topic?" in str(done.exception)
    assert "stream typo.portals" in plan.output


def test_a_folder_without_a_queue_gets_none(folder: Path) -> None:
    assert isinstance(run("status", keys="A").exception, UnknownStream)
    assert list(folder.iterdir()) == []


def test_portals_keys_name_the_seal_key_that_wraps_them(folder: Path) -> None:
    sent("A", call("m1"))

    async def wrappers(queue: Any, stored: StoredKeys) -> set[str]:
        members = stored._registry.following.book.members.values()
        return {wrapped_with(key.wrapped) for member in members for key in member.data_keys}

    assert stored("A", wrappers) == {"A"}
