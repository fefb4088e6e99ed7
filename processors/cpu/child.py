"""The other side: a process that calls handlers, one event after the other, until its parent is gone."""

import os
import pickle
import signal
import socket
import struct
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any

from forebay.processors.forks import leave_forks_to_themselves
from forebay.processors.printing import let_handlers_print

from .answers import packed

#: Before each message stands its length.
LENGTH = struct.Struct(">Q")

#: The parent's first message, and the answer to it when all is well.
READY = b""

#: What stops the parent, and us through him.
_THE_PARENTS = (signal.SIGINT, signal.SIGTERM)

#: A call: the number of its function, and the pickled argument.
Call = tuple[int, bytes]


def main(descriptor: int) -> None:
    """Load the functions that the first message has, and then call them. Ends with the connection."""
    for one in _THE_PARENTS:
        # Both may be sent to the whole group of processes: it is the parent who stops us. A function, and not SIG_IGN,
        # which a handler's own subprocesses would inherit.
        signal.signal(one, lambda *_: None)
    leave_forks_to_themselves(_THE_PARENTS)
    # As in the worker; and it is not lost with a process that dies.
    let_handlers_print()
    connection = socket.socket(fileno=descriptor)
    # Not so where the handlers' module has called `socket.setdefaulttimeout` in our parent.
    connection.setblocking(True)
    # Nothing that a handler starts may answer for us, nor hold the connection, by whose end it is known that we died.
    connection.set_inheritable(False)
    os.register_at_fork(after_in_child=lambda: _leave(connection))
    messages: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_receive, args=(connection, messages), daemon=True).start()
    try:
        functions: list[Callable[[Any], object]] = pickle.loads(messages.get())  # noqa: S301 - our parent's bytes
    # Whatever the import of a user's module raises, the parent has to tell it.
    except BaseException as error:
        _send(connection, f"{type(error).__name__}: {error}".encode())
        return
    _send(connection, READY)
    while True:
        calls: list[Call] = pickle.loads(messages.get())  # noqa: S301 - our parent's bytes
        for number, argument in calls:
            # Each is answered as soon as it ends: if we die, the first that was not is the one to blame.
            _send(connection, _answer(functions[number], argument))


def _answer(function: Callable[[Any], object], argument: bytes) -> bytes:
    ours = os.getpid()
    try:
        answer = packed(function(pickle.loads(argument)), None)  # noqa: S301 - our parent's bytes
    # SystemExit too: it is the handler's outcome, and not the end of this process.
    except BaseException as error:
        if os.getpid() != ours:
            raise
        return packed(None, error)
    if os.getpid() != ours:
        # The handler forked, and let the new process come out here: only the first one's end is the call's.
        sys.exit()
    return answer


def _leave(connection: socket.socket) -> None:
    # Closing it would wait for the reader, whose thread is not here. A fork of a fork has left it already.
    descriptor = connection.detach()
    if descriptor >= 0:
        os.close(descriptor)


def _receive(connection: socket.socket, messages: SimpleQueue[bytes]) -> None:
    # What the parent had not read of our answers makes its end an error.
    with suppress(OSError), connection.makefile("rb") as stream:
        while len(head := stream.read(LENGTH.size)) == LENGTH.size:
            messages.put(stream.read(*LENGTH.unpack(head)))
    _end()


def _send(connection: socket.socket, message: bytes) -> None:
    try:
        connection.sendall(LENGTH.pack(len(message)) + message)
    except OSError:
        _end()


def _end() -> None:
    """The parent is gone, however it ended: nobody waits for what a handler still does."""
    os._exit(0)
