import os
import socket
from collections.abc import Iterator

import pytest

from forebay.console.binding import wait_until_all_free, wait_until_free
from forebay.console.errors import WrongUsage
from forebay.console.settings import Settings


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def address(listener: socket.socket) -> str:
    return f"127.0.0.1:{listener.getsockname()[1]}"


async def no_delay(_: float) -> None:
    pass


async def test_an_address_that_is_in_use_is_told_with_its_setting(listener: socket.socket) -> None:
    with pytest.raises(WrongUsage, match=f"bind {address(listener)} is in use by another process; stop it or set bind"):
        await wait_until_free("bind", address(listener), sleep=no_delay)


async def test_who_ends_meanwhile_is_waited_for(listener: socket.socket) -> None:
    async def end(_: float) -> None:
        listener.close()

    await wait_until_free("bind", address(listener), sleep=end)


async def test_an_address_of_another_machine_is_told() -> None:
    with pytest.raises(WrongUsage, match=r"bind 192\.0\.2\.1:80 can't be listened on"):
        await wait_until_free("bind", "192.0.2.1:80", sleep=no_delay)


async def test_sockets_that_systemd_hands_over_are_refused_for_nobody_would_be_at_bind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LISTEN_FDS", "1")
    settings = Settings(bind="127.0.0.1:0")

    # They are for another process, our parent.
    monkeypatch.setenv("LISTEN_PID", "1")
    await wait_until_all_free(settings)

    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    with pytest.raises(WrongUsage, match=r"LISTEN_FDS.*bind and metrics_bind say where to listen"):
        await wait_until_all_free(settings)
