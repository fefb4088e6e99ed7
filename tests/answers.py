"""What a server answers to a call, whatever its status."""

import urllib.error
import urllib.request
from collections.abc import Mapping


def called(
    url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None, timeout_s: float = 20.0
) -> tuple[int, bytes]:
    """Status and body. Raises `OSError` where there is no answer."""
    request = urllib.request.Request(url, body, dict(headers or {}))  # noqa: S310 - the tests' own servers
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:  # noqa: S310
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        # It is the answer, and holds the connection.
        with error:
            return error.code, error.read()


def metrics_of(port: int) -> str:
    """What a process of this machine shows at /metrics. Raises `OSError` where there is no answer."""
    return called(f"http://127.0.0.1:{port}/metrics")[1].decode()
