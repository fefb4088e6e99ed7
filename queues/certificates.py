"""When the certificates end by which the queue's servers and we know each other."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from forebay.queues.settings import QueueSettings

#: Ours, and that of the authority by which we know the servers: what the metric's label may say.
CLIENT, AUTHORITY = "client", "authority"

#: Where each system's settings name them: properties of Kafka's client, and parameters of the others' URLs.
_KAFKA = {"ssl.certificate.location": CLIENT, "ssl.ca.location": AUTHORITY}
_IN_URL = {
    **{"sslcert": CLIENT, "sslrootcert": AUTHORITY},
    **{"ssl_cert": CLIENT, "ssl_ca": AUTHORITY},
    **{"certfile": CLIENT, "cafile": AUTHORITY},
}


class Certificates:
    """The files that the settings name. They may be renewed at any time, and are read again when they have changed."""

    def __init__(self, settings: QueueSettings) -> None:
        self._files = dict(_named(settings))
        #: Whose → by what a change of its file is seen, and when what stood in it ends.
        self._read: dict[str, tuple[tuple[int, int], float | None]] = {}

    def expiries(self) -> dict[str, float]:
        """Whose → when it ends, in seconds since the epoch. What can't be read is left out: doctor tells why."""
        found = {whose: self._expiry(whose, path) for whose, path in self._files.items()}
        return {whose: at for whose, at in found.items() if at is not None}

    def _expiry(self, whose: str, path: Path) -> float | None:
        try:
            facts = path.stat()
            seen = (facts.st_mtime_ns, facts.st_size)
            if whose not in self._read or self._read[whose][0] != seen:
                self._read[whose] = seen, _end(whose, path.read_bytes())
        except OSError:
            return None
        return self._read[whose][1]


def _named(settings: QueueSettings) -> Iterator[tuple[str, Path]]:
    parts = urlsplit(settings.queue_url)
    given: Mapping[str, object] = settings.kafka if parts.scheme == "kafka" else dict(parse_qsl(parts.query))
    for name, whose in (_KAFKA if parts.scheme == "kafka" else _IN_URL).items():
        path = Path(str(given.get(name, "")))
        # A folder of authorities, or the system's own, are many whose ends mean nothing to us.
        if path.is_file():
            yield whose, path


def _end(whose: str, content: bytes) -> float | None:
    """The end of our own, which stands first in its file; of several authorities the last that is left counts."""
    from cryptography import x509

    try:
        ends = [one.not_valid_after_utc.timestamp() for one in x509.load_pem_x509_certificates(content)]
    except ValueError:
        return None
    return ends[0] if whose == CLIENT else max(ends)
