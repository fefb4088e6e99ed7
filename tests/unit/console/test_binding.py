import socket
from collections.abc import Iterator

import pytest

from forebay.console.binding import wait_until_free
from forebay.console.errors import WrongUsage


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
