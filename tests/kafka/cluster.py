"""A real Kafka of one or three nodes, each a process of its own, without Docker."""

import base64
import os
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from string import Template

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from tests.missing import NotHere
from tests.ports import free_ports
from tests.processes import dying_with_us

from .jars import jars

_HERE = Path(__file__).parent

#: What every node is set to.
PROPERTIES = _HERE / "server.properties"

#: Serial collector and the first compiler only: half the start time, and enough for tests of correctness.
TEST_JVM = ("-Xms96m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")

#: Those of Kafka's own start script: what a benchmark measures is then what an installation has.
PRODUCTION_JVM = (
    *("-Xms1g", "-Xmx1g", "-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20"),
    *("-XX:InitiatingHeapOccupancyPercent=35", "-XX:+ExplicitGCInvokesConcurrent"),
)

#: A start takes 2 s; on a busy machine several times that.
_READY_S = 60.0


class Node:
    """One broker and controller. It keeps its port and its folder over restarts."""

    def __init__(self, number: int, folder: Path, jvm: Sequence[str] = TEST_JVM, *, version: str | None = None) -> None:
        """Of that version of Kafka, else of the pom's."""
        self.number, self.folder, self._jvm, self._version = number, folder, jvm, version
        #: More options of the JVM.
        self.options: Sequence[str] = ()
        self.port, self.sasl_port, self.controller_port = free_ports(3)
        #: Where it listens, and the port to which it sends its clients: that of a proxy, where there is one.
        self.host, self.advertised_port = "127.0.0.1", self.port
        #: The command that runs it, where it is to run somewhere else.
        self.within: Sequence[str] = ()
        self._process: subprocess.Popen[bytes] | None = None

    def format(self, cluster_id: str, values: Mapping[str, object], features: Sequence[str]) -> None:
        """Write its properties, and make its log. Features that aren't named are as new as they can be."""
        self.folder.mkdir(parents=True)
        (self.folder / "server.properties").write_text(self.properties(values), "utf-8")
        named = [word for feature in features for word in ("--feature", feature)]
        config = ["--config", str(self.folder / "server.properties")]
        self.tool("kafka.tools.StorageTool", "format", "--cluster-id", cluster_id, *named, *config)

    def tool(self, name: str, *arguments: str) -> str:
        """What a tool of Kafka prints, by its class. Raises `NotHere` when it fails."""
        done = subprocess.run([*self._java(), name, *arguments], capture_output=True, text=True, check=False)
        if done.returncode:
            raise NotHere(f"{name} failed: {done.stdout}{done.stderr}")
        return done.stdout

    def properties(self, values: Mapping[str, object]) -> str:
        """Its server.properties, with the values of the whole cluster."""
        own = {"node": self.number, "port": self.port, "sasl_port": self.sasl_port, "folder": self.folder / "log"}
        own |= {"host": self.host, "advertised_port": self.advertised_port, "controller_port": self.controller_port}
        return Template(PROPERTIES.read_text("utf-8")).substitute({**values, **own})

    def start(self) -> None:
        """Start the process; it is not ready yet."""
        with (self.folder / "out.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*dying_with_us(), *self.within, *self._java(), "kafka.Kafka", str(self.folder / "server.properties")],
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End the process: SIGTERM moves its leaders away first, SIGKILL is a crash. Idempotent."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(_READY_S)
            self._process = None

    def signal(self, how: signal.Signals) -> None:
        """Send a signal that doesn't end it: SIGSTOP is a broker that hangs, SIGCONT wakes it."""
        assert self._process is not None
        self._process.send_signal(how)

    def has_ended(self) -> bool:
        """Whether the process has ended by itself."""
        return self._process is not None and self._process.poll() is not None

    def check(self) -> None:
        """Raise when the process has ended by itself."""
        if self.has_ended():
            raise NotHere(f"Kafka ended: {(self.folder / 'out.log').read_text('utf-8', 'replace')[-3000:]}")

    def _java(self) -> list[str]:
        home = os.environ.get("JAVA_HOME")
        java = str(Path(home, "bin", "java")) if home else "java"
        logging = f"-Dlog4j2.configurationFile={_HERE / 'log4j2.properties'}"
        return [java, *self._jvm, *self.options, logging, "-cp", f"{jars(self._version)}/*"]


class Cluster:
    """Nodes that know each other. Use it in a `with` statement."""

    def __init__(self, folder: Path, nodes: int | Sequence[Node] = 1, features: Sequence[str] = ()) -> None:
        if not shutil.which("java") and "JAVA_HOME" not in os.environ:
            raise NotHere("there is no java on the PATH; install Java 17 or newer")
        self.folder, self._features = folder, features
        if isinstance(nodes, int):
            nodes = [Node(number, folder / f"node-{number}") for number in range(1, nodes + 1)]
        self.nodes = list(nodes)

    @property
    def bootstrap(self) -> str:
        """Where a client without a password comes in."""
        return ",".join(f"{node.host}:{node.port}" for node in self.nodes)

    @property
    def url(self) -> str:
        """The setting for it."""
        return f"kafka://{self.bootstrap}"

    @property
    def sasl_bootstrap(self) -> str:
        """Where a client needs SASL PLAIN."""
        return ",".join(f"{node.host}:{node.sasl_port}" for node in self.nodes)

    def __enter__(self) -> "Cluster":
        try:
            self._format()
            for node in self.nodes:
                node.start()
            self.wait_ready()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Kill every node: a cluster without its majority would not end by itself. Idempotent."""
        for node in self.nodes:
            node.stop(signal.SIGKILL)

    def _format(self) -> None:
        copies = min(len(self.nodes), 3)
        voters = ",".join(f"{node.number}@{node.host}:{node.controller_port}" for node in self.nodes)
        # An id that begins with a dash, as one of 64 would, is taken for an option: a zero byte first prevents that.
        cluster_id = base64.urlsafe_b64encode(b"\0" + uuid.uuid4().bytes[1:]).decode().rstrip("=")
        for node in self.nodes:
            values = {"voters": voters, "copies": copies, "in_sync": max(1, copies - 1)}
            node.format(cluster_id, values, self._features)

    def wait_ready(self) -> None:
        """Return when every node is in the cluster."""
        wait_until(self.bootstrap, len(self.nodes), self._check)

    def wait_in_sync(self) -> None:
        """Return when every node is in the cluster, and has caught up with each partition that it holds a copy of."""
        self.wait_ready()
        until = time.monotonic() + _READY_S
        with AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0}) as client:
            while not _are_in_sync(client):
                self._check()
                if time.monotonic() > until:
                    raise NotHere(f"the copies are not in sync after {_READY_S:.0f} s")

    def _check(self) -> None:
        for node in self.nodes:
            node.check()


def wait_until(
    bootstrap: str,
    nodes: int,
    check: Callable[[], None] = lambda: None,
) -> None:
    """Return when a client sees so many brokers; `check` may give up earlier by raising."""
    until = time.monotonic() + _READY_S
    while time.monotonic() < until:
        check()
        # Another one each time: one that came while the brokers were fenced, as after a hang, has none for ever.
        with AdminClient({"bootstrap.servers": bootstrap, "log_level": 0, "reconnect.backoff.max.ms": 200}) as client:
            try:
                if len(client.list_topics(timeout=1).brokers) >= nodes:
                    return
            except KafkaException:
                continue
    raise NotHere(f"no Kafka answered at {bootstrap} within {_READY_S:.0f} s")


def _are_in_sync(client: AdminClient) -> bool:
    try:
        topics = client.list_topics(timeout=1).topics.values()
    except KafkaException:
        return False
    partitions = [partition for topic in topics for partition in topic.partitions.values()]
    return all(len(partition.isrs) == len(partition.replicas) for partition in partitions)
