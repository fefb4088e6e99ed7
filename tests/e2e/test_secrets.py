"""Secrets through everything that runs, and then a look for them in everything that was written."""

import json
import os
import signal
import urllib.request
from base64 import b64decode, b64encode
from collections.abc import Iterator

import pytest

from tests.answers import called, metrics_of
from tests.e2e.site import Site
from tests.ports import free_ports

#: A dozen commands one after the other take their time on a busy machine.
pytestmark = pytest.mark.timeout(300)

TOKEN = "51856fefc120afa4b628cc82d3935cce"
ACCESS, REFRESH, WRONG = "acce55ible-0123456789", "refre5hing-0123456789", "wr0ng-token-0123456789"
URL_SECRETS = ("url-secret-of-today-0123", "url-secret-of-tomorrow-4567")
KEYS = {"new": b64encode(os.urandom(32)).decode(), "old": b64encode(os.urandom(32)).decode()}

HANDLERS = """
import json, os

from forebay import Handlers

handlers = Handlers()
keys = json.loads(os.environ["FOREBAY_SEAL_KEYS"])


@handlers.on("*")
def handle(event):
    opened = event.secrets(keys)
    with open("handled.log", "a") as book:
        print(event.name, event.member_id, len(opened.get("auth[access_token]", "")), file=book)
    if event.name == "ONCRMDEALUPDATE":
        raise RuntimeError(f"it failed with {opened}")
"""


def post(site: Site, path: str = "", **more: str | None) -> int:
    given: dict[str, str | None] = {
        "event": "ONCRMDEALADD",
        "auth[domain]": "a.bitrix24.ru",
        "auth[member_id]": "m1",
        "auth[access_token]": ACCESS,
        "auth[refresh_token]": REFRESH,
        "auth[application_token]": TOKEN,
    }
    given |= {name.replace("__", "[") + "]" * name.count("__"): value for name, value in more.items()}
    body = "&".join(f"{name}={value}" for name, value in given.items() if value is not None).encode()
    return called(site.url + path, body)[0]


def portals_are_read(site: Site) -> bool:
    """From then on new portals get keys of their own."""
    with urllib.request.urlopen(f"http://127.0.0.1:{site.port}/ready", timeout=10) as answer:
        return bool(json.load(answer)["parts"]["portals"] == "ok")


def written(site: Site, outputs: str) -> Iterator[tuple[str, bytes]]:
    """Everything that anybody wrote, but for the settings that the test itself gave."""
    yield "outputs", outputs.encode()
    for file in site.folder.rglob("*"):
        if file.is_file() and file.suffix not in (".py", ".pyc"):
            yield str(file.relative_to(site.folder)), file.read_bytes()


def pages(site: Site) -> Iterator[str]:
    """What a browser gets from `forebay web`."""
    [port] = free_ports(1)
    site.settings["web_bind"] = f"127.0.0.1:{port}"
    site.start("web", "web")
    site.wait("the page", lambda: "ASGI server listening" in site.log("web"))
    lists = ("dead", "quarantine")
    letters = [f"/{name}/{json.loads(site.run(name, 'list', '--json').stdout)['id']}" for name in lists]
    for path in ("/", "/groups/forebay", "/parked", "/portals", "/portals/a.bitrix24.ru", "/audit", "/dead", *letters):
        status, body = called(f"http://127.0.0.1:{port}{path}")
        assert status == 200, body
        yield body.decode()
    assert site.stop("web") == 0


def forms(secret: str) -> Iterator[bytes]:
    yield secret.encode()
    yield secret.encode().hex().encode()
    yield b64encode(secret.encode()).rstrip(b"=")


def test_no_secret_is_in_any_file_log_metric_or_screen_after_a_full_run(site: Site) -> None:
    (site.folder / "shop.py").write_text(HANDLERS)
    site.settings |= {
        "tokens": json.dumps({"*": TOKEN}),
        "url_secret": json.dumps(URL_SECRETS),
        "seal_keys": json.dumps(KEYS),
        "max_depth": "6",
        "tries": "1",
        "callers": '{"trusted_proxies": ["127.0.0.1"]}',
    }
    site.start("up", "up", "shop:handlers")
    site.wait("ready", lambda: "ready after" in site.log("up") and portals_are_read(site))

    statuses = [
        post(site),
        post(site, event="ONCRMDEALUPDATE"),
        post(site, f"/{URL_SECRETS[0]}/rule?x={URL_SECRETS[1]}&access_token={ACCESS}", auth__application_token=WRONG),
        post(site, f"?secret={URL_SECRETS[1]}", auth__member_id="m2"),
        post(site, f"/not-{URL_SECRETS[0]}", auth__application_token=WRONG),
        post(site, data__a__b__c__d__e__f__g="deep"),
        *(post(site, auth__application_token=WRONG) for _ in range(30)),
    ]
    site.wait("four events", lambda: len(site.handled()) == 4)

    assert statuses == [200] * 4 + [403, 200] + [403] * 30
    assert {line.split()[2] for line in site.handled()} == {str(len(ACCESS))}
    outputs = "".join(
        done.stdout + done.stderr
        for done in (
            site.run("doctor", "--json"),
            site.run("tail", "--from", "earliest", "--count", "4", "--json"),
            site.run("dead", "list", "--json"),
            site.run("quarantine", "list", "--json"),
            site.run("quarantine", "show", json.loads(site.run("quarantine", "list", "--json").stdout)["id"]),
            site.run("keys", "rotate", "--json"),
            site.run("keys", "status", "--json"),
            site.run("spool", "status"),
        )
    )
    outputs += metrics_of(site.port) + "".join(pages(site))
    assert site.stop("up") == 0
    found = list(written(site, outputs))
    assert '"can_go":true' in outputs and "it failed with" in b"".join(text for _, text in found).decode("latin-1")
    for secret in (TOKEN, ACCESS, REFRESH, WRONG, *URL_SECRETS, *KEYS.values()):
        for form in forms(secret):
            assert [name for name, text in found if form in text] == [], f"{secret} stands in a file"
    for key in map(b64decode, KEYS.values()):
        assert [name for name, text in found if key in text or key.hex().encode() in text] == []


def test_after_an_uninstall_with_its_data_nobody_opens_what_the_portal_had_sealed(site: Site) -> None:
    (site.folder / "shop.py").write_text(HANDLERS)
    site.settings |= {"tokens": json.dumps({"*": TOKEN}), "seal_keys": json.dumps(KEYS)}
    # A store that is later than that would have the first secrets sealed by the seal key, which is not shredded.
    site.settings["ack_deadline_ms"] = "30000"
    site.start("ingest", "ingest")
    site.wait("ready", lambda: site.is_ready() and portals_are_read(site))
    assert [post(site), post(site, auth__member_id="m2")] == [200, 200]

    # It comes without OAuth tokens: they are dead already.
    assert post(site, event="ONAPPUNINSTALL", data__CLEAN="1", auth__access_token=None) == 200
    site.wait("the keys are gone", lambda: "secrets are shredded" in site.log("ingest"))
    # What came within the last moments may still be told to others; the worker waits until it must know.
    site.start("worker", "process", "shop:handlers")
    site.wait("the letter", lambda: "m2" in "".join(site.handled()) and dead(site) != [])

    assert [letter["error_class"] for letter in dead(site)] == ["forebay.processors.errors.Reject"]
    assert "the key of portal m1 is gone" in str(dead(site)[0]["error"])
    assert not any(line.split()[1:] == ["m1", str(len(ACCESS))] for line in site.handled())


def dead(site: Site) -> list[dict[str, object]]:
    return listed(site, "dead", "list")


@pytest.mark.parametrize("servers", ["postgresql_servers", "redis_servers"])
def test_an_uninstall_while_the_store_is_away_is_carried_out_when_it_is_back_whoever_was_killed_meanwhile(
    site: Site, servers: str, request: pytest.FixtureRequest
) -> None:
    server = request.getfixturevalue(servers)()
    site.settings |= {"queue_url": server.url(), "ack_deadline_ms": "30000"}
    site.settings |= {"tokens": json.dumps({"*": TOKEN}), "seal_keys": json.dumps(KEYS)}
    site.start("ingest", "ingest")
    site.wait("ready", lambda: site.is_ready() and portals_are_read(site))
    members = ("m1", "m2", "m3")
    assert [post(site, auth__member_id=member) for member in members] == [200] * 3
    site.settings["ack_deadline_ms"] = "500"
    restart(site, killed=False)

    # One that has read the portals, and is killed; one that has never read them, and is stopped; another one.
    server.kill()
    # Where the disk is slow the answer does not wait for it.
    assert uninstall(site, "m1") == 200
    site.wait("the note", lambda: len(notes(site)) == 1)
    restart(site, killed=True)
    assert uninstall(site, "m2") == 200
    site.wait("the note", lambda: len(notes(site)) == 2)
    restart(site, killed=False)
    server.start()
    site.wait("all is shredded", lambda: notes(site) == [])

    rows = {row["member_id"]: row["data_keys"] for row in listed(site, "portals", "list")}
    assert [rows.get(member, 0) for member in members] == [0, 0, 1]


def uninstall(site: Site, member: str) -> int:
    return post(site, event="ONAPPUNINSTALL", data__CLEAN="1", auth__access_token=None, auth__member_id=member)


def restart(site: Site, *, killed: bool) -> None:
    ingest = site.running["ingest"]
    workers = site.workers()
    if killed:
        for pid in (ingest.pid, *workers):
            os.kill(pid, signal.SIGKILL)
        ingest.wait()
    else:
        assert site.stop("ingest") == 0
    site.start("ingest", "ingest")
    site.wait("the ingest", site.is_ready)


def notes(site: Site) -> list[str]:
    folder = site.folder / "data" / "shreddings"
    return [path.name for path in folder.glob("*.json")] if folder.is_dir() else []


def listed(site: Site, *command: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in site.run(*command, "--json").stdout.splitlines()]
