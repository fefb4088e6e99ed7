"""Takes away pods that are to go, as a kubelet does when their containers have ended."""

import json
from collections.abc import Callable
from contextlib import suppress
from threading import Event, Thread
from typing import Any

import httpx

#: A watch that the server ends by itself is begun again; so soon even where nothing happens.
_WATCH_S = 60
_AGAIN_S = 0.1


class Graves:
    """Beside the API server, from `open` to `close`.

    kwok would delete by name: a second time, after a late look at the pod, it hits the next one of a StatefulSet, which
    has the same name. A kubelet names the pod's uid.
    """

    def __init__(self, client: Callable[[], httpx.Client]) -> None:
        self._client = client
        self._closed = Event()
        self._thread = Thread(target=self._run, name="graves", daemon=True)

    def open(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """Do no more. The thread ends when it notices: at the latest when the server has gone."""
        self._closed.set()

    def _run(self) -> None:
        with self._client() as client:
            while not self._closed.is_set():
                with suppress(httpx.HTTPError):
                    self._watch(client)
                self._closed.wait(_AGAIN_S)

    def _watch(self, client: httpx.Client) -> None:
        # Without a version it begins with all that are there.
        asked = {"watch": "1", "timeoutSeconds": str(_WATCH_S)}
        with client.stream("GET", "/api/v1/pods", params=asked, timeout=_WATCH_S * 2) as found:
            for line in found.iter_lines():
                told = json.loads(line)
                if told["type"] != "DELETED" and "deletionTimestamp" in told["object"]["metadata"]:
                    _delete(client, told["object"]["metadata"])


def _delete(client: httpx.Client, metadata: dict[str, Any]) -> None:
    options = {"gracePeriodSeconds": 0, "preconditions": {"uid": metadata["uid"]}}
    path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
    # 404 and 409: it has gone already, and another has its name by now.
    client.request("DELETE", path, json=options)
