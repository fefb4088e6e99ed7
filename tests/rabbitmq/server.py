"""A RabbitMQ node of the tests' own, from the system's package, beside the service that the package would run."""

import logging
import os
import re
import shutil
import signal
import subprocess
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import orjson
import pika
from pika.exceptions import ChannelClosedByBroker

from forebay.queues.rabbitmq.logs import CATALOG, DEAD_LETTERS, group_log, intake, partition_log, payload
from tests.certificates import Authority
from tests.databases.server import ADMIN, PASSWORD, READY_S, DatabaseServer, as_account
from tests.missing import NotHere
from tests.ports import free_ports
from tests.processes import dying_with_us

#: Debian's wrapper on the PATH is for the service: it changes the user and the folder.
_PROGRAMS = Path("/usr/lib/rabbitmq/bin")

_SETTINGS = """
listeners.tcp.1 = 127.0.0.1:{port}
loopback_users = none
default_user = {user}
default_pass = {password}
log.console = true
log.file = false
"""

#: A node says so when what watches its dead-letter workers gives up, as when a queue is deleted that has just got its
#: leader. From then on no intake gets one (RabbitMQ's issue 16652, open).
_CRIPPLED = re.compile(rb"\{local,rabbit_fifo_dlx_sup\}.*\n.*\n.*reached_max_restart_intensity")

#: What it takes as it comes, and one of 4 an eighth of that.
MAX_MESSAGE_BYTES = 128 * 1024 * 1024

#: Small, and no busy waiting: other tests want the processors too.
_ERLANG = "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none -kernel inet_dist_use_interface {127,0,0,1}"


# Each try to come in that fails would be told in a dozen lines.
logging.getLogger("pika").setLevel(logging.CRITICAL)


def url(port: int, vhost: str, user: str = ADMIN, password: str = PASSWORD, host: str = "127.0.0.1") -> str:
    """Where a client comes in."""
    return f"amqp://{user}:{quote(password, safe='')}@{host}:{port}/{quote(vhost, safe='')}"


class Server(DatabaseServer):
    """One node with a folder, a port and a name service of its own. Use it in a `with` statement."""

    system = "RabbitMQ"
    account = ("rabbitmq", "rabbitmq")
    stopping = signal.SIGTERM
    # Starting takes it 8 s of a processor's time.
    ready_s = 180.0

    def __init__(self, options: tuple[str, ...] = (), *, secured: bool = False) -> None:
        if not (_PROGRAMS / "rabbitmq-server").exists() or shutil.which("epmd") is None:
            raise NotHere("there is no RabbitMQ on this machine; install Debian's package rabbitmq-server")
        super().__init__(options)
        self._authority = Authority(self.folder) if secured else None
        self._secure_port, self._names, self._between = free_ports(3)
        self._epmd: subprocess.Popen[bytes] | None = None

    def url(self, vhost: str = "/", user: str = ADMIN, password: str = PASSWORD) -> str:
        """Where a client comes in."""
        return url(self.port, vhost, user, password)

    def secure_url(self) -> str:
        """Where a client comes in over TLS, which has to trust the tests' authority."""
        assert self._authority is not None
        insecure = url(self._secure_port, "/", host="localhost")
        return f"{insecure.replace('amqp:', 'amqps:')}?cafile={self._authority.certificate}"

    def command(self) -> list[str]:
        """What starts it."""
        return [str(_PROGRAMS / "rabbitmq-server")]

    def answers(self) -> None:
        """Come in as a client."""
        enter(self.url())

    def _make(self) -> None:
        home = self.folder / "home"
        home.mkdir()
        cookie = home / ".erlang.cookie"
        cookie.write_text(uuid4().hex, "ascii")
        cookie.chmod(0o400)
        settings = _SETTINGS.format(port=self.port, user=ADMIN, password=PASSWORD)
        settings += "\n".join([*self._options, *self._security()])
        (self.folder / "rabbitmq.conf").write_text(settings, "utf-8")
        (self.folder / "enabled_plugins").write_text("[].", "ascii")
        if os.getuid() == 0:
            for path in [self.folder, *self.folder.rglob("*")]:
                shutil.chown(path, *self.account)
        self._epmd = subprocess.Popen(
            [*dying_with_us(), "epmd", "-port", str(self._names), "-address", "127.0.0.1"],
            env=self._environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **as_account(self.account),
        )

    def _security(self) -> list[str]:
        if self._authority is None:
            return []
        signed = self._authority.signed("rabbitmq", ["localhost"])
        return [
            f"listeners.ssl.1 = 127.0.0.1:{self._secure_port}",
            f"ssl_options.cacertfile = {self._authority.certificate}",
            f"ssl_options.certfile = {signed.certificate}",
            f"ssl_options.keyfile = {signed.key}",
        ]

    def _environment(self) -> dict[str, str]:
        folder = self.folder
        return {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "HOME": f"{folder}/home",
            "RABBITMQ_NODENAME": f"forebay{self.port}@localhost",
            "RABBITMQ_BASE": str(folder),
            "RABBITMQ_MNESIA_BASE": f"{folder}/mnesia",
            "RABBITMQ_LOG_BASE": f"{folder}/log",
            "RABBITMQ_CONFIG_FILE": f"{folder}/rabbitmq.conf",
            "RABBITMQ_ADVANCED_CONFIG_FILE": f"{folder}/advanced.config",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{folder}/enabled_plugins",
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_PID_FILE": f"{folder}/pid",
            "RABBITMQ_DIST_PORT": str(self._between),
            "ERL_EPMD_PORT": str(self._names),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": _ERLANG,
            # The node itself is our child then, and dies with us; else a script is, and would leave it behind.
            "RUNNING_UNDER_SYSTEMD": "1",
        }

    def start(self) -> None:
        """Start the process; it is not ready yet."""
        with (self.folder / "output").open("ab") as log:
            self._said_before = log.tell()
            self._process = subprocess.Popen(
                [*dying_with_us(), *self.command()],
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=self.folder,
                env=self._environment(),
                **as_account(self.account),
            )

    def kill(self) -> None:
        """`kill -9` of the node and its helpers. Idempotent."""
        if self._process is not None:
            self.signal_all(signal.SIGKILL)
            self._process.wait(READY_S)
            self._process = None

    def signal_all(self, how: signal.Signals) -> None:
        """Send a signal to every process."""
        assert self._process is not None
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, how)

    def close(self) -> None:
        """Kill it, and take its files away. Idempotent."""
        super().close()
        if self._epmd is not None:
            self._epmd.kill()
            self._epmd.wait()
            self._epmd = None

    def _check(self) -> None:
        if self._process is not None and self._process.poll() is not None:
            raise NotHere(f"RabbitMQ ended: {(self.folder / 'output').read_text('utf-8', 'replace')[-3000:]}")

    def control(self, *arguments: str) -> None:
        """Have `rabbitmqctl` do this."""
        done = subprocess.run(
            [str(_PROGRAMS / "rabbitmqctl"), "-q", "-n", f"forebay{self.port}@localhost", *arguments],
            env=self._environment(),
            capture_output=True,
            text=True,
            check=False,
            cwd=self.folder,
            **as_account(self.account),
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def take_at_most(self, size: int) -> None:
        """Set `max_message_size` as it runs: one of 3 looks for it in its settings, one of 4 where it has put it."""
        both = f"application:set_env(rabbit, max_message_size, {size}), persistent_term:put(max_message_size, {size})."
        self.control("eval", both)

    def empty(self) -> str:
        """Delete all of ours in the first virtual host, which takes less time than to make another; its URL."""
        with closing(direct(self.url())) as connection:
            found = _catalog(connection)
            channel = connection.channel()
            for one in found:
                stream = one["stream"]
                channel.queue_delete(group_log(stream, one["group"]) if "group" in one else CATALOG)
                for number in range(one.get("partitions", 0)):
                    channel.queue_delete(partition_log(stream, number))
                    channel.queue_delete(intake(partition_log(stream, number)))
            channel.queue_delete(DEAD_LETTERS)
        if self._is_crippled():
            self.stop()
            self.start()
            self.wait_ready()
        return self.url()

    def _is_crippled(self) -> bool:
        with (self.folder / "output").open("rb") as log:
            log.seek(self._said_before)
            return _CRIPPLED.search(log.read()) is not None


def _catalog(connection: Any) -> list[dict[str, Any]]:
    found: list[bytes] = []
    channel = connection.channel()
    try:
        channel.queue_declare(CATALOG, passive=True)
    except ChannelClosedByBroker:
        return []
    channel.basic_qos(prefetch_count=1000)
    channel.basic_consume(CATALOG, lambda *told: found.append(told[3]), arguments={"x-stream-offset": "first"})
    while not found:
        connection.process_data_events(1.0)
    # What goes before the answer has arrived before it.
    channel.basic_qos(prefetch_count=1000)
    connection.process_data_events(0)
    channel.close()
    return [orjson.loads(told) for told in map(payload, found) if told is not None]


def direct(url: str) -> Any:
    """A plain client that blocks."""
    return pika.BlockingConnection(pika.URLParameters(url))


def enter(url: str) -> None:
    """Come in as a client, and go."""
    direct(url).close()
