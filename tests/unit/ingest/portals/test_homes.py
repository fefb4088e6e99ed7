"""The key of a portal that was renamed, at a start at which the store of portals can't be read yet."""

import asyncio
from pathlib import Path

import orjson
import pytest
from structlog.testing import capture_logs

from forebay.ingest.portals.homes import FILE
from forebay.queues.memory import MemoryQueue
from forebay.queues.portals.contract import Chapter
from forebay.queues.portals.memory import MemoryPortalStore
from tests.bitrix24.oauth import FakeOAuth
from tests.unit.ingest.conftest import facts_of
from tests.unit.ingest.portals.conftest import (
    DOMAIN,
    MEMBER,
    TOKEN,
    Learning,
    body,
    install,
    learning,
    starting,
)

RENAMED = "second.bitrix24.com"


async def rename(ingest: Learning) -> None:
    """Let the portal install, and call under another name, until that is noted."""
    await ingest.post(install())
    await ingest.proved()
    await ingest.post(body(domain=RENAMED))
    while not ingest.desk.registry.following.book.renamed:
        await asyncio.sleep(0.001)


def keys(ingest: Learning) -> list[str]:
    """Under which the events stand, but for the marker of the new name."""
    names = [(record.key, event.name) for record, event in zip(ingest.records(), ingest.events(), strict=True)]
    return [key for key, name in names if name.startswith("ONCRM")]


async def test_a_renamed_portal_keeps_its_key_where_a_start_finds_the_store_away(
    oauth: FakeOAuth, tmp_path: Path
) -> None:
    queue = MemoryQueue()
    async with learning(oauth, queue, data_dir=tmp_path) as ingest:
        await rename(ingest)
    facts_of(queue).down = True

    for starts in (1, 2):
        async with learning(oauth, queue, data_dir=tmp_path) as ingest:
            answer = await ingest.post(body(domain=RENAMED))
            await ingest.desk._homes.note()

            assert answer.status_code == 200
            assert keys(ingest) == [DOMAIN] * (1 + starts)
            assert [event.subscription.verified for event in ingest.events()][-1] is False


async def test_a_new_name_is_kept_for_the_next_start_before_this_process_ends(
    oauth: FakeOAuth, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forebay.ingest.portals.homes._LOOK_EVERY_S", 0.001)
    async with learning(oauth, data_dir=tmp_path) as ingest:
        await rename(ingest)

        while not (tmp_path / FILE).exists():
            await asyncio.sleep(0.001)
        assert orjson.loads((tmp_path / FILE).read_bytes()) == {MEMBER: DOMAIN}


async def test_so_it_does_with_a_secret_in_the_url(oauth: FakeOAuth, tmp_path: Path) -> None:
    queue, secret = MemoryQueue(), "0123456789abcdef"
    async with learning(oauth, queue, data_dir=tmp_path) as ingest:
        await rename(ingest)
    facts_of(queue).down = True

    async with learning(oauth, queue, data_dir=tmp_path, auth=["registry", "url-secret"], url_secret=secret) as ingest:
        await ingest.post(body(domain=RENAMED, token=""), f"/bitrix24/{secret}")

        assert keys(ingest) == [DOMAIN, DOMAIN]


async def test_calls_wait_at_a_start_until_the_portals_are_read(
    oauth: FakeOAuth, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forebay.ingest.portals.desk._PATIENCE_S", 60.0)
    queue, read = MemoryQueue(), MemoryPortalStore.read
    async with learning(oauth, queue) as ingest:
        await rename(ingest)

    async def slow(store: MemoryPortalStore, start: int, timeout_s: float) -> Chapter:
        await asyncio.sleep(0.2)
        return await read(store, start, timeout_s)

    monkeypatch.setattr(MemoryPortalStore, "read", slow)
    async with starting(oauth, queue) as ingest:
        await ingest.post(body(domain=RENAMED))

        assert keys(ingest) == [DOMAIN, DOMAIN]
        assert [event.subscription.verified for event in ingest.events()][-1] is True


async def test_a_store_that_hangs_holds_no_start_up_for_long(oauth: FakeOAuth, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("forebay.ingest.portals.desk._PATIENCE_S", 0.01)

    async def hang(store: MemoryPortalStore) -> int:
        return await asyncio.Event().wait()

    monkeypatch.setattr(MemoryPortalStore, "end", hang)
    async with starting(oauth, MemoryQueue()) as ingest:
        answer = await ingest.post(body())

        assert answer.status_code == 200
        assert ingest.desk.state == "the portals are not read yet"


async def test_what_is_forgotten_of_a_portal_is_forgotten_there_too(oauth: FakeOAuth, tmp_path: Path) -> None:
    async with learning(oauth, data_dir=tmp_path) as ingest:
        await rename(ingest)
        await ingest.desk._homes.note()
        before = orjson.loads((tmp_path / FILE).read_bytes())
        await ingest.desk.registry.forget(MEMBER)
        at_once = ingest.desk._homes.of(MEMBER)

    assert (before, at_once) == ({MEMBER: DOMAIN}, None)
    assert TOKEN.encode() not in (tmp_path / FILE).read_bytes()
    assert orjson.loads((tmp_path / FILE).read_bytes()) == {}


@pytest.mark.parametrize("found", [b"", b"{", b"[1]", b'{"' + MEMBER.encode() + b'": 1}'])
async def test_a_file_that_is_none_keeps_no_ingest_from_starting(
    oauth: FakeOAuth, tmp_path: Path, found: bytes
) -> None:
    (tmp_path / FILE).write_bytes(found)
    queue = MemoryQueue()
    facts_of(queue).down = True

    async with learning(oauth, queue, data_dir=tmp_path) as ingest:
        await ingest.post(body(domain=RENAMED))

        assert keys(ingest) == [RENAMED]


async def test_what_a_full_disk_did_not_keep_is_kept_when_it_has_room_again(
    oauth: FakeOAuth, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, said: bytes) -> None:
        raise OSError(28, "No space left on device")

    async with learning(oauth, data_dir=tmp_path) as ingest:
        with monkeypatch.context() as filled:
            filled.setattr("forebay.ingest.portals.homes.write_whole", full)
            await rename(ingest)
            with capture_logs() as logs:
                await ingest.desk._homes.note()
        await ingest.desk._homes.note()

        assert orjson.loads((tmp_path / FILE).read_bytes()) == {MEMBER: DOMAIN}
    assert [one["event"] for one in logs] == ["the keys of renamed portals can't be kept in data_dir"]
