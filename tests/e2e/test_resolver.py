"""A host whose resolver hangs, as where its name server is away: a name may then be looked up for a minute or more."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.answers import called
from tests.missing import missing

_SOURCE = Path(__file__).with_name("resolver.c")

HANDLERS = """
from forebay import Handlers

handlers = Handlers()


@handlers.on("*")
async def handle(event):
    pass
"""

EVENT = "event=ONCRMDEALADD&data[FIELDS][ID]=1&ts=1466439714&auth[domain]=shop.bitrix24.com"
TOKENS = "auth[access_token]=s6p6eclrvim6da22ft9ch94e&auth[application_token]=51856fefc120afa4b628cc82d3935cce"
FORM = f"{EVENT}&auth[member_id]=a223c6b3710f85df22e9377d6c4f7553&{TOKENS}"

OAUTH = {
    "auth": "registry",
    "client_id": "local.1",
    "seal_keys": json.dumps({"k1": "QkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkI="}),
}


@pytest.fixture
def without_resolver(site: Any, tmp_path: Path) -> Any:
    """A site whose processes ask for the address of away.example, and hear nothing."""
    compiler = shutil.which("cc")
    if compiler is None:
        missing("a C compiler is needed for a resolver that hangs")
    library = tmp_path / "resolver.so"
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", library, _SOURCE, "-ldl"], check=True)
    site.variables["LD_PRELOAD"] = str(library)
    # Who waits for the resolver has no end, and nobody ends him before the test does.
    site.settings["drain_s"] = "3600"
    (tmp_path / "shop.py").write_text(HANDLERS, "utf-8")
    return site


@pytest.mark.parametrize(
    "settings",
    [
        {"queue_url": "kafka://away.example"},
        {"queue_url": "postgresql://me:hush@away.example/events"},
        {"queue_url": "mariadb://me:hush@away.example/events"},
        {"queue_url": "redis://:hush@away.example/0"},
        {"queue_url": "amqp://me:hush@away.example/"},
        {"queue_url": "memcached://away.example"},
        {"queue_url": "kafka://127.0.0.1:1", "schema_registry_url": "http://away.example"},
        OAUTH | {"oauth_urls": json.dumps(["https://away.example/rest"])},
        {"auth": "none", "callers": json.dumps({"allow_url": "https://away.example/", "allow": ["127.0.0.1/32"]})},
    ],
    ids=["kafka", "postgresql", "mariadb", "redis", "rabbitmq", "memcached", "schemas", "oauth", "callers"],
)
def test_a_resolver_that_hangs_keeps_neither_a_call_nor_a_stop_waiting(
    without_resolver: Any, settings: dict[str, str]
) -> None:
    site = without_resolver
    site.settings |= settings
    site.start("ingest", "ingest")
    site.start("worker", "process", "shop:handlers")
    site.wait("the ingest", site.is_ready)
    site.wait("the worker", lambda: "events are taken" in site.log("worker"))

    status, _ = called(site.url, FORM.encode())
    ended = (site.stop("worker"), site.stop("ingest"))

    assert status == 200
    assert ended == (0, 0)


def test_a_resolver_that_hangs_keeps_no_canary_from_its_end(without_resolver: Any) -> None:
    site = without_resolver
    site.start("ingest", "ingest")
    site.wait("the ingest", site.is_ready)
    site.start("canary", "canary", "--url", "http://away.example/bitrix24", "--timeout", "1", "--every", "0.1")
    site.wait("an event that is missed", lambda: "not answered" in site.log("canary"))

    assert site.stop("canary") == 0
