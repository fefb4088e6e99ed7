"""A worker whose handlers compute in processes."""

import asyncio
import os
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from forebay import Handlers, PortalEvent
from forebay.processors.errors import BadHandler
from forebay.processors.testing import event
from forebay.schemas import names
from forebay.schemas.codec import codec
from forebay.schemas.portal import partition_of
from tests.cpu import work
from tests.waiting import until


async def order(station: Any, portal: str, what: str, file: Path) -> None:
    made = event("ONAPPTEST", data={"DO": what, "FILE": str(file)}, portal=portal)
    await station.send(portal, value=codec().encode(made))


def notes(file: Path) -> list[str]:
    return file.read_text().split("\n")[:-1] if file.exists() else []


async def test_an_event_that_ends_its_process_three_times_is_given_up_and_no_other(
    station: Any, handlers: Handlers, tmp_path: Path
) -> None:
    handlers.on("*", cpu=True)(work.do)
    for number in range(100):
        await order(station, f"p{number % 10}", "die" if number == 50 else "note", tmp_path / f"{number == 50}")
    worker = station.start(cpu_processes=2, retry_first_s=0.001, retry_longest_s=0.001)

    await until(lambda: station.committed() == 100)

    (letter,) = station.dead()
    assert letter.key == "p0"
    assert dict(letter.headers)[names.DEAD_ERROR_CLASS] == b"forebay.processors.errors.ProcessDied"
    assert worker.metrics.dead.labels("killed")._value.get() == 1
    assert len(notes(tmp_path / "True")) == 3
    assert sorted(line.split()[0] for line in notes(tmp_path / "False")) == sorted(
        f"p{number % 10}" for number in range(100) if number != 50
    )


async def test_a_portal_keeps_its_order_in_processes(station: Any, handlers: Handlers, tmp_path: Path) -> None:
    handlers.on("*", cpu=True)(work.number)
    for number in range(200):
        made = event("ONAPPTEST", data={"N": number, "FILE": str(tmp_path / f"p{number % 4}")})
        await station.send(f"p{number % 4}", value=codec().encode(made))
    station.start(cpu_processes=2)

    await until(lambda: station.committed() == 200)

    for portal in range(4):
        assert notes(tmp_path / f"p{portal}") == [str(number) for number in range(portal, 200, 4)]


async def test_a_stop_ends_what_computes_after_its_grace_and_it_comes_again(
    station: Any, handlers: Handlers, tmp_path: Path
) -> None:
    handlers.on("*", cpu=True)(work.do)
    await order(station, "p", "hang", tmp_path / "hangs")
    worker = station.start(cpu_processes=1, drain_s=0.2)
    await until(lambda: notes(tmp_path / "hangs"))

    began = monotonic()
    left = await station.stop(worker)

    assert left == 0
    # Its grace, and what a loaded machine needs; the handler itself would take an hour.
    assert monotonic() - began < 20
    assert station.committed() == 0
    (line,) = notes(tmp_path / "hangs")
    with pytest.raises(ProcessLookupError):
        os.kill(int(line.split()[1]), 0)


async def test_a_worker_does_not_begin_with_a_handler_that_its_processes_can_t_import(
    station: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_there.py").write_text("def handle(event): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    module = __import__("broken_there")
    (tmp_path / "broken_there.py").write_text("raise RuntimeError('not here')")
    station.handlers.on("*", cpu=True)(module.handle)

    worker = station.start()
    with pytest.raises(BadHandler, match="RuntimeError: not here"):
        await station.running.pop(worker)

    assert station.committed() == 0


async def test_a_stop_is_heard_while_the_first_process_imports_the_handlers(
    station: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "slow_there.py").write_text("def handle(event): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    module = __import__("slow_there")
    pid = tmp_path / "pid"
    (tmp_path / "slow_there.py").write_text(
        f"import os, time\nprint(os.getpid(), file=open({str(pid)!r}, 'w'), flush=True)\ntime.sleep(3600)\n"
    )
    station.handlers.on("*", cpu=True)(module.handle)
    worker = station.start()
    await until(lambda: notes(pid))

    left = await station.stop(worker)

    assert left == 0
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def test_what_can_t_run_in_a_process_is_refused_when_it_is_registered() -> None:
    async def waits(event: PortalEvent) -> None:
        await asyncio.sleep(0)

    def inside(event: PortalEvent) -> None: ...

    with pytest.raises(BadHandler, match="is `async def`"):
        Handlers().on("*", cpu=True)(waits)
    with pytest.raises(BadHandler, match="stands inside another function"):
        Handlers().on("*", cpu=True)(inside)


async def test_a_batch_in_a_process_is_narrowed_down_to_the_event_that_ends_it(
    station: Any, handlers: Handlers, tmp_path: Path
) -> None:
    handlers.on("*", cpu=True, batch=10)(work.do_all)
    for number in range(20):
        await order(station, "p", "die" if number == 7 else "note", tmp_path / f"{number}")
    station.start(cpu_processes=1, retry_first_s=0.001, retry_longest_s=0.001)

    await until(lambda: station.committed() == 20)

    (letter,) = station.dead()
    assert dict(letter.headers)[names.DEAD_ERROR_CLASS] == b"forebay.processors.errors.ProcessDied"
    assert all(notes(tmp_path / f"{number}") for number in range(20))
    assert letter.value == station.queue.logs["bitrix24.events"][letter_partition("p")][7].value


def letter_partition(portal: str) -> int:
    return partition_of(portal, 4)
