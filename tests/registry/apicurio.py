"""A real schema registry, Apicurio's, in a process of its own and with its storage in memory."""

import shutil
import signal
import subprocess
import tarfile
import time
import urllib.request
from pathlib import Path
from urllib.error import URLError

from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

from tests.maven import fetched
from tests.missing import NotHere
from tests.ports import free_ports
from tests.processes import dying_with_us

#: The last line of versions that is content with Java 17.
VERSION = "2.6.13.Final"

#: Serial collector and the first compiler only: half the start time, and enough for tests of correctness.
_JVM = ("-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")

#: A start takes 3 s; on a busy machine several times that.
_READY_S = 60.0


class Apicurio:
    """Use it in a `with` statement."""

    def __init__(self, folder: Path) -> None:
        self._log = folder / "out.log"
        [self._port] = free_ports(1)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its address, with the path of the API that is Confluent's."""
        return f"http://127.0.0.1:{self._port}/apis/ccompat/v7"

    def __enter__(self) -> "Apicurio":
        home = _home()
        address = ("-Dquarkus.http.host=127.0.0.1", f"-Dquarkus.http.port={self._port}")
        jar = home / f"apicurio-registry-app-{VERSION}-runner.jar"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*dying_with_us(), "java", *_JVM, *address, "-jar", str(jar)],
                cwd=home,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self._wait_ready()
            self._warm_up()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Kill it. Idempotent."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(_READY_S)
            self._process = None

    def down(self) -> None:
        """Stand still: it takes connections and answers nothing. A stop would make it forget everything."""
        self._signal(signal.SIGSTOP)

    def up(self) -> None:
        """Go on."""
        self._signal(signal.SIGCONT)

    def empty(self) -> None:
        """Delete every subject."""
        with SchemaRegistryClient({"url": self.url}) as client:
            for subject in client.get_subjects():
                client.delete_subject(subject)
                client.delete_subject(subject, permanent=True)

    def _warm_up(self) -> None:
        # The first registration loads half of its classes, which takes a second or three.
        with SchemaRegistryClient({"url": self.url}) as client:
            client.register_schema("warm-up", Schema('"string"', "AVRO"))

    def _signal(self, which: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(which)

    def _wait_ready(self) -> None:
        assert self._process is not None
        until = time.monotonic() + _READY_S
        while time.monotonic() < until:
            if self._process.poll() is not None:
                break
            try:
                urllib.request.urlopen(f"{self.url}/subjects", timeout=1).close()  # noqa: S310 - our own
            except (URLError, OSError):
                # Refused at once while it starts.
                time.sleep(0.05)
            else:
                return
        raise NotHere(f"Apicurio did not start: {self._log.read_text('utf-8', 'replace')[-2000:]}")


def _home() -> Path:
    """The folder of its jars. Raises `NotHere`."""
    if not shutil.which("java"):
        raise NotHere("there is no java on the PATH; install Java 17 or newer")
    artifact = f"io.apicurio:apicurio-registry-app:{VERSION}:tar.gz:all"
    return fetched("Apicurio", VERSION, ["dependency:copy", f"-Dartifact={artifact}"], _unpack)


def _unpack(folder: Path) -> None:
    archive = next(folder.glob("*.tar.gz"))
    with tarfile.open(archive) as packed:
        # Python 3.11 has the filter from its fourth release on.
        packed.extraction_filter = getattr(tarfile, "data_filter", None)
        packed.extractall(folder)  # noqa: S202 - Apicurio's own release, by Maven
    archive.unlink()
