import os
import re
import socket
from collections.abc import Callable, Iterator

import pytest

from forebay.console.errors import WrongUsage
from forebay.console.processes import binding
from forebay.console.processes.binding import wait_until_all_free, wait_until_free
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


@pytest.fixture
def handed_over(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Have systemd hand over these sockets, or anything else that has a number."""

    def hand_over(*sockets: socket.socket) -> None:
        first = min(one.fileno() for one in sockets)
        assert [one.fileno() for one in sockets] == list(range(first, first + len(sockets)))
        monkeypatch.setattr(binding, "_FIRST_HANDED_OVER", first)
        monkeypatch.setenv("LISTEN_FDS", str(len(sockets)))
        monkeypatch.setenv("LISTEN_PID", str(os.getpid()))

    return hand_over


async def test_sockets_that_systemd_hands_over_are_taken_where_they_are_at_the_settings_addresses(
    listener: socket.socket, handed_over: Callable[..., None]
) -> None:
    handed_over(listener)

    assert list(await wait_until_all_free(Settings(bind=address(listener)))) == [listener.fileno()]
    assert await wait_until_all_free(Settings(bind=f"localhost:{listener.getsockname()[1]}"))


async def test_sockets_for_another_process_are_none_of_ours(
    listener: socket.socket, handed_over: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    handed_over(listener)
    # Our parent's, say.
    monkeypatch.setenv("LISTEN_PID", "1")

    assert not await wait_until_all_free(Settings(bind="127.0.0.1:0"))


async def test_a_socket_that_is_not_at_an_address_of_the_settings_is_refused(
    listener: socket.socket, handed_over: Callable[..., None]
) -> None:
    port = listener.getsockname()[1]
    handed_over(listener)

    for elsewhere in (f"127.0.0.2:{port}", f"[::1]:{port}", f"127.0.0.1:{port - 1}"):
        told = rf"socket at 127\.0\.0\.1:{port}, which is not at bind {re.escape(elsewhere)}: make ListenStream"
        with pytest.raises(WrongUsage, match=told):
            await wait_until_all_free(Settings(bind=elsewhere))


async def test_an_address_without_a_socket_beside_one_that_has_it_is_told(
    listener: socket.socket, handed_over: Callable[..., None]
) -> None:
    handed_over(listener)
    settings = Settings(bind=address(listener), metrics_bind="127.0.0.1:9464")

    with pytest.raises(WrongUsage, match=r"none at metrics_bind 127\.0\.0\.1:9464: add ListenStream=127\.0\.0\.1:9464"):
        await wait_until_all_free(settings)


async def test_what_is_no_socket_of_tcp_is_refused(handed_over: Callable[..., None]) -> None:
    with socket.socket(socket.AF_UNIX) as unix:
        handed_over(unix)
        with pytest.raises(WrongUsage, match="not TCP's"):
            await wait_until_all_free(Settings())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        handed_over(udp)
        with pytest.raises(WrongUsage, match="not TCP's"):
            await wait_until_all_free(Settings())
        udp_number = udp.fileno()
    with pytest.raises(WrongUsage, match=rf"socket {udp_number}, which is none"):
        await wait_until_all_free(Settings())
