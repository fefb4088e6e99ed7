"""Handlers in processes of their own, which die, hang and compute."""

import asyncio
import os
import pickle
import select
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from forebay import Handlers, PortalEvent, Reject, Retry
from forebay.processors.cpu.child import LENGTH
from forebay.processors.cpu.functions import packed_functions
from forebay.processors.cpu.pool import Pool
from forebay.processors.cpu.process import Process
from forebay.processors.error_texts import error_class, error_traceback
from forebay.processors.errors import BadHandler, DeadlineExceeded, ProcessDied
from forebay.processors.handlers import Handler
from forebay.processors.health import Health
from forebay.processors.testing import event
from tests.cpu import work
from tests.waiting import until


async def at_once() -> None:
    """For who may begin."""


def handler_of(function: Any) -> Handler:
    handlers = Handlers()
    handlers.on("*")(function)
    return next(iter(handlers))


HANDLER = handler_of(work.do)


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    made = Pool([HANDLER], processes=2, may_begin=at_once)
    yield made
    await made.close()


def order(what: str, portal: str = "p", file: Path | None = None) -> PortalEvent:
    return event("ONAPPTEST", data={"DO": what, "FILE": str(file)}, portal=portal)


async def called(pool: Pool, what: PortalEvent, deadline_s: float = 60.0) -> tuple[object, BaseException | None]:
    return await pool.call(HANDLER, what, what.id, deadline_s)


def notes(file: Path) -> list[tuple[str, int]]:
    lines = [line.split() for line in file.read_text().splitlines()] if file.exists() else []
    return [(portal, int(pid)) for portal, pid in lines]


async def test_a_handler_runs_in_another_process_with_its_event(pool: Pool, tmp_path: Path) -> None:
    file = tmp_path / "notes"

    assert await called(pool, order("note", "shop.bitrix24.ru", file)) == (None, None)

    ((portal, pid),) = notes(file)
    assert portal == "shop.bitrix24.ru"
    assert pid != os.getpid()


async def test_what_it_prints_is_there_when_the_call_ends(
    pool: Pool, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)

    assert await called(pool, order("say", "shop.bitrix24.ru")) == (None, None)

    assert capfd.readouterr().out == "shop.bitrix24.ru was here\n"


async def test_what_can_not_be_printed_is_no_fault_of_the_handler(pool: Pool) -> None:
    kept = os.dup(1)
    with open("/dev/full", "wb") as full:
        os.dup2(full.fileno(), 1)
    try:
        assert await called(pool, order("say")) == (None, None)
    finally:
        os.dup2(kept, 1)
        os.close(kept)


async def test_what_it_raises_comes_back_with_its_traceback(pool: Pool) -> None:
    _, retry = await called(pool, order("retry"))
    _, reject = await called(pool, order("reject"))
    _, failure = await called(pool, order("fail"))
    _, exit = await called(pool, order("exit"))

    assert isinstance(retry, Retry)
    assert retry.after_s == 7
    assert isinstance(reject, Reject)
    assert isinstance(exit, SystemExit)
    assert isinstance(failure, LookupError)
    assert error_class(failure) == "LookupError"
    assert "work.py" in error_traceback(failure)


async def test_a_default_that_a_module_has_set_for_its_own_sockets_is_none_for_ours(pool: Pool, tmp_path: Path) -> None:
    socket.setdefaulttimeout(5)
    try:
        async with asyncio.timeout(50):
            ended = await called(pool, order("note", file=tmp_path / "notes"))
    finally:
        socket.setdefaulttimeout(None)

    assert ended == (None, None)


async def test_an_error_that_takes_other_arguments_than_it_keeps_comes_as_it_was(pool: Pool) -> None:
    _, raised = await called(pool, order("two"))

    assert isinstance(raised, work.TwoFold)
    assert str(raised) == "this and that"


@pytest.mark.parametrize(("what", "how"), [("die", "SIGKILL"), ("crash", "SIGSEGV"), ("leave", "status 3")])
async def test_a_process_that_dies_is_the_fault_of_what_it_had_in_work(
    pool: Pool, tmp_path: Path, what: str, how: str
) -> None:
    for _ in range(40):
        # Until it is known that a call is short; from then on several go to a process at once.
        await called(pool, order("note", file=tmp_path / "warm"))
    killer, file = order(what, "ill", tmp_path / "deaths"), tmp_path / "notes"
    others = [order("note", f"well{number}", file) for number in range(60)]

    ends = await asyncio.gather(*(called(pool, one) for one in [*others[:10], killer, *others[10:]]))

    _, died = ends.pop(10)
    assert isinstance(died, ProcessDied)
    assert how in str(died)
    assert died.deaths == 1
    assert set(ends) == {(None, None)}
    # None of them was begun a second time either.
    assert sorted(portal for portal, _ in notes(file)) == sorted(one.portal for one in others)


@pytest.mark.parametrize("end", ["exit", "fail", "return", "fork"])
async def test_a_process_that_a_handler_forks_answers_nothing(pool: Pool, tmp_path: Path, end: str) -> None:
    file = tmp_path / "notes"

    for number in range(3):
        assert await called(pool, order(f"fork and {end}", file=file)) == (None, None)
        assert len(notes(file)) == number + 1

    assert isinstance((await called(pool, order("fail")))[1], LookupError)


@pytest.mark.parametrize("how", ["running", "forked"])
async def test_a_death_is_known_though_what_the_handler_started_goes_on(pool: Pool, tmp_path: Path, how: str) -> None:
    file = tmp_path / "pids"

    _, died = await called(pool, order(f"leave {how}", file=file), deadline_s=20)

    ((_, pid),) = notes(file)
    os.kill(pid, 9)
    assert isinstance(died, ProcessDied)
    assert "status 3" in str(died)


async def test_deaths_of_an_event_are_counted_until_it_ends_otherwise(pool: Pool, tmp_path: Path) -> None:
    killer = order("die", file=tmp_path / "deaths")

    deaths = [(await called(pool, killer))[1] for _ in range(3)]
    assert [one.deaths for one in deaths if isinstance(one, ProcessDied)] == [1, 2, 3]
    await pool.call(HANDLER, order("note", file=tmp_path / "notes"), killer.id, 60)
    (_, anew) = await called(pool, killer)

    assert isinstance(anew, ProcessDied)
    assert anew.deaths == 1


async def test_a_deadline_ends_the_process_and_only_its_own_call(pool: Pool, tmp_path: Path) -> None:
    file = tmp_path / "notes"

    hung, *ends = await asyncio.gather(
        called(pool, order("hang", file=tmp_path / "hangs"), 0.5),
        *(called(pool, order("note", file=file)) for _ in range(20)),
    )

    assert isinstance(hung[1], DeadlineExceeded)
    assert set(ends) == {(None, None)}
    ((_, pid),) = notes(tmp_path / "hangs")
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_call_that_is_cancelled_runs_no_more_when_that_returns(pool: Pool, tmp_path: Path) -> None:
    file = tmp_path / "hangs"
    running = asyncio.create_task(called(pool, order("hang", file=file)))
    await until(lambda: notes(file))

    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    ((_, pid),) = notes(file)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert await called(pool, order("note", file=tmp_path / "notes")) == (None, None)


async def test_that_no_process_can_be_started_is_told_for_as_long_as_a_call_waits_for_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    health, usual = Health(), Process.started
    pool = Pool([HANDLER], processes=1, may_begin=at_once, health=health)
    tried = asyncio.Event()

    async def fails(functions: bytes) -> Process:
        tried.set()
        raise OSError("no memory for it")

    monkeypatch.setattr(Process, "started", fails)
    running = asyncio.create_task(called(pool, order("note", file=tmp_path / "notes")))
    await tried.wait()
    await asyncio.sleep(0)
    meanwhile = health.parts().get("cpu")
    monkeypatch.setattr(Process, "started", usual)
    await running
    behind = health.parts().get("cpu")
    await pool.close()

    assert meanwhile == {"state": "degraded", "why": "no process can be started: no memory for it"}
    assert behind == {"state": "ok", "why": ""}


async def begun(pool: Pool, what: PortalEvent) -> tuple["asyncio.Task[tuple[object, BaseException | None]]", Any]:
    """The call, and the pool's job for it, which a process has by now."""
    running = asyncio.create_task(called(pool, what))
    await asyncio.sleep(0)
    job = pool._waiting[-1]
    while job.process is None:
        await asyncio.sleep(0)
    return running, job


async def test_a_call_that_had_ended_when_it_was_cancelled_is_not_to_be_made_again(pool: Pool, tmp_path: Path) -> None:
    file = tmp_path / "notes"
    running, job = await begun(pool, order("note", file=file))
    # Its answer is there, and the loop has not read it yet.
    select.select([job.process._writer.get_extra_info("socket")], [], [], 5)

    running.cancel()

    assert await running == (None, None)
    assert running.cancelling() == 0
    assert len(notes(file)) == 1


async def test_a_call_that_is_cancelled_as_it_ends_takes_no_other_along(tmp_path: Path) -> None:
    pool, file = Pool([HANDLER], processes=1, may_begin=at_once), tmp_path / "hangs"
    # It is known to be short, so that two are given to the process at once.
    await called(pool, order("note", file=tmp_path / "notes"))
    first = asyncio.create_task(called(pool, order("note", file=tmp_path / "notes")))
    other = asyncio.create_task(called(pool, order("hang", file=file), 0.5))
    await asyncio.sleep(0)
    job = pool._waiting[0]
    while not job.future.done():
        await asyncio.sleep(0)

    first.cancel()
    ended = await first
    _, raised = await other
    await pool.close()

    assert ended == (None, None)
    assert isinstance(raised, DeadlineExceeded)


async def test_a_process_that_died_while_it_had_nothing_to_do_is_nobody_s_fault(pool: Pool, tmp_path: Path) -> None:
    file = tmp_path / "notes"
    await called(pool, order("note", file=file))
    ((_, pid),) = notes(file)
    os.kill(pid, 9)
    await until(lambda: not Path(f"/proc/{pid}").exists())
    # The end of its connection is there by now; the loop hears of it in its next turns.
    for _ in range(3):
        await asyncio.sleep(0)

    assert await called(pool, order("note", file=file)) == (None, None)


@pytest.mark.parametrize("act", ["note", "hang"])
def test_a_process_ends_with_its_parent_also_where_that_had_not_read_all_answers(tmp_path: Path, act: str) -> None:
    functions, _ = packed_functions([HANDLER])
    ours, theirs = socket.socketpair()
    child = f"from forebay.processors.cpu.child import main; main({theirs.fileno()})"
    calls = pickle.dumps([(0, pickle.dumps(order(what, file=tmp_path / what))) for what in ("note", act)])
    with subprocess.Popen(
        [sys.executable, "-c", child], pass_fds=[theirs.fileno()], stderr=subprocess.PIPE, text=True
    ) as process:
        theirs.close()
        with ours, ours.makefile("rwb") as stream:
            for message in (functions, calls):
                stream.write(LENGTH.pack(len(message)) + message)
            stream.flush()
            assert stream.read1() == LENGTH.pack(0)
            # The answer to the first call is there, and stays unread.
            assert select.select([ours], [], [], 60)[0]

        try:
            assert process.communicate(timeout=60)[1] == ""
            assert process.returncode == 0
        finally:
            process.kill()


async def test_no_process_is_left_behind(tmp_path: Path) -> None:
    pool = Pool([HANDLER], processes=2, may_begin=at_once)
    await pool.start()
    calls = [asyncio.create_task(called(pool, order("hang", file=tmp_path / "hangs"))) for _ in range(2)]
    await until(lambda: len(notes(tmp_path / "hangs")) == 2)

    await pool.close()

    for _, pid in notes(tmp_path / "hangs"):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    await asyncio.gather(*calls)


@pytest.mark.parametrize("function", [lambda event: None, work.hidden])
def test_a_function_that_no_other_process_can_import_is_refused_with_the_rule(function: Any) -> None:
    with pytest.raises(BadHandler, match=r"can't be called in another process: .*at the top of a module"):
        Pool([handler_of(function)], processes=1, may_begin=at_once)


async def test_a_module_that_the_processes_can_t_import_stops_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "only_here.py").write_text("import os\ndef handle(event): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    only_here = __import__("only_here")
    (tmp_path / "only_here.py").write_text("raise RuntimeError('not in another process')")
    pool = Pool([handler_of(only_here.handle)], processes=1, may_begin=at_once)

    with pytest.raises(BadHandler, match="can't import its handlers: RuntimeError: not in another process"):
        await pool.start()

    await pool.close()
