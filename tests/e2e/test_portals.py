"""The portal registry on real processes: two ingest hosts, a worker, an OAuth server, and what they leave behind."""

import json
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from forebay.queues.opening import open_queue
from forebay.queues.settings import QueueSettings
from forebay.schemas.codec import codec
from forebay.schemas.event import PortalEvent
from tests.answers import called, metrics_of
from tests.bitrix24.oauth import FakeOAuth, Installed
from tests.e2e.site import Site, open_site

APPLICATION, MEMBER = "app.5a1b2c3d4e5f60.12345678", "c0ffee00c0ffee00c0ffee00c0ffee00"
DOMAIN, RENAMED = "first.bitrix24.example", "second.bitrix24.example"
KEY = "QkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkI="

TOKEN = "51856fefc120afa4b628cc82d3935cce"
ADDED = "9c9c6fefc120afa4b628cc82d3935c9c"
ACCESS, FORGED_ACCESS = "access-token-of-the-portal-itself", "access-token-that-somebody-made-up"
STRANGER = "7" * 32
REFRESH = "refresh-token-of-the-portal-itself"
FORGED = [f"{number:032x}"[::-1] for number in range(0xABC000, 0xABC000 + 7)]

#: Nothing of these may stand anywhere.
SECRETS = [TOKEN, STRANGER, ADDED, ACCESS, FORGED_ACCESS, REFRESH, KEY, *FORGED]

HANDLERS = """
import os

from forebay import Handlers

handlers = Handlers()
book = os.open("handled.log", os.O_CREAT | os.O_APPEND | os.O_WRONLY)


@handlers.on("ONCRM*", verified=True)
async def deal(event):
    os.write(book, f"{event.data['FIELDS']['ID']} {event.subscription.verified}\\\\n".encode())


@handlers.on("*")
async def other(event):
    os.write(book, f"{event.name} {event.subscription.verified}\\\\n".encode())
""".replace("\\\\n", "\\n")


def body(event: str, number: int = 0, *, token: str = TOKEN, access: str = "", domain: str = DOMAIN) -> bytes:
    auth = {"domain": domain, "member_id": MEMBER, "application_token": token, "access_token": access}
    auth |= {"refresh_token": REFRESH} if access else {}
    pairs = [f"auth%5B{name}%5D={value}" for name, value in auth.items() if value]
    return "&".join([f"event={event}", f"data%5BFIELDS%5D%5BID%5D={number}", *pairs]).encode()


def post(site: Site, sent: bytes) -> int:
    return called(site.url, sent)[0]


@pytest.fixture
def oauth() -> Iterator[FakeOAuth]:
    with FakeOAuth() as fake:
        fake.knows[ACCESS] = Installed(client_id=APPLICATION, member_id=MEMBER, domain=DOMAIN)
        yield fake


@pytest.fixture(params=["sqlite", "postgresql", pytest.param("kafka", marks=pytest.mark.kafka)])
def hosts(request: pytest.FixtureRequest, tmp_path: Path, oauth: FakeOAuth) -> Iterator[list[Site]]:
    if request.param == "kafka":
        kafka = request.getfixturevalue("kafka")
        kafka.empty()
        url = f"kafka://{kafka.bootstrap}"
    elif request.param == "postgresql":
        url = request.getfixturevalue("postgresql_url")
    else:
        url = f"sqlite:///{tmp_path}/queue.db"
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    with open_site(tmp_path / "one") as one, open_site(tmp_path / "two") as two:
        for site in (one, two):
            site.settings |= {
                "queue_url": url,
                "auth": "registry",
                "client_id": APPLICATION,
                "seal_keys": json.dumps({"2026": KEY}),
                "oauth_urls": json.dumps([oauth.url]),
                "partitions": "2",
            }
        yield [one, two]


def start(site: Site) -> None:
    site.start("ingest", "ingest")
    site.wait("ready", lambda: site.parts().get("portals") == "ok")


def refuses_strangers(site: Site) -> bool:
    return post(site, body("ONTASKADD", token=STRANGER)) == 403


def rows(site: Site, *arguments: str) -> list[dict[str, Any]]:
    done = site.run("portals", *arguments, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.timeout(300)
def test_two_hosts_learn_a_portal_and_leave_no_secret_anywhere(hosts: list[Site], oauth: FakeOAuth) -> None:
    one, two = hosts
    for site in hosts:
        start(site)
    (one.folder / "shop.py").write_text(HANDLERS)
    worker = one.start("worker", "process", "shop:handlers")

    # Fifty installs at once, of which one is the portal's own, spread over both hosts. Of more than eight tokens none
    # would be refused any more: it may be one that was not noted.
    calls = [body("ONAPPINSTALL", token=token, access=FORGED_ACCESS) for token in FORGED * 7]
    calls.insert(20, body("ONAPPINSTALL", access=ACCESS))
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda at: post(hosts[at % 2], calls[at]), range(len(calls))))
    assert set(answers) == {200}
    one.wait("the proof", lambda: any(row["state"] == "verified" for row in rows(one, "list")))
    for site in hosts:
        # A stranger's call is refused by whoever knows that another token is the portal's.
        site.wait("the proof, on this host", partial(refuses_strangers, site))

    assert post(one, body("ONCRMDEALADD", 1)) == post(two, body("ONCRMDEALADD", 2)) == 200
    assert post(two, body("ONCRMDEALADD", 3, domain=RENAMED)) == 200
    assert post(one, body("ONCRMDEALADD", 4, token=FORGED[0])) in (200, 403)
    added = one.run("portals", "add", "added", "--domain", "added.bitrix24.example", "--token-file", token_file(one))
    assert added.returncode == 0, added.stderr
    one.wait("the events", lambda: {"1 True", "2 True", "3 True"} <= set(one.handled()))

    def listed() -> list[tuple[str, str, int]]:
        own = (row for row in rows(two, "list") if row["member_id"] == MEMBER)
        return [(row["portal"], row["domains"], row["verified"]) for row in own]

    # No call waits until its portal's new name is noted.
    two.wait("the new name", lambda: listed() == [(DOMAIN, f"{DOMAIN} {RENAMED}", 1)])
    assert "ONPORTALRENAMED True" in one.handled()
    assert one.handled().count("ONAPPINSTALL False") == 50
    assert "4 True" not in one.handled()
    shown = [
        one.run("doctor"),
        two.run("portals", "show", DOMAIN),
        one.run("tail", "--from", "earliest", "--count", "50"),
    ]
    metrics = [metrics_of(site.port) for site in hosts]
    worker.send_signal(signal.SIGTERM)
    worker.wait(60)
    assert [site.stop("ingest") for site in hosts] == [0, 0]
    (one.folder / "token").unlink()

    told = "\n".join([*(done.stdout + done.stderr for done in shown), *metrics, *answered(hosts)])
    assert not [secret for secret in SECRETS if secret in told]
    assert_no_secret_below(one.folder.parent)
    assert_no_secret_in_the_queue(one)


def answered(hosts: list[Site]) -> list[str]:
    return [site.log("ingest") for site in hosts] + [hosts[0].log("worker")]


def token_file(site: Site) -> str:
    (site.folder / "token").write_text(ADDED)
    return str(site.folder / "token")


def assert_no_secret_below(folder: Path) -> None:
    """In no file that any process has written: queue, spool, logs, gaps."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 5
    for path in files:
        content = path.read_bytes()
        found = [secret for secret in SECRETS if secret.encode() in content]
        assert not found, f"{path} has {found}"


def assert_no_secret_in_the_queue(site: Site) -> None:
    import asyncio

    settings = QueueSettings(queue_url=site.settings["queue_url"], partitions=2)
    everything, events = asyncio.run(everything_in(settings))
    assert not [secret for secret in SECRETS if secret.encode() in everything]
    assert len(events) >= 54


async def everything_in(settings: QueueSettings) -> tuple[bytes, list[PortalEvent]]:
    queue = open_queue(settings)
    inspector, store = queue.inspector(), queue.portals(settings.topic)
    found, events = [], []
    for suffix in ("", ".quarantine", ".dead"):
        stream = settings.topic + suffix
        for partition, bounds in (await inspector.bounds(stream)).items():
            offset = bounds.start
            while records := await inspector.read(stream, partition, offset, 500):
                offset = records[-1].offset + 1
                found += [part for one in records for part in (one.value, *(value for _, value in one.headers))]
                events += [codec().decode(one.value) for one in records if not suffix]
    chapter = await store.read(0, 5)
    found += [fact.key.encode() + (fact.value or b"") for fact in chapter.facts]
    await inspector.close()
    await store.close()
    await queue.close()
    return b"\n".join(found), events


def kill_all(site: Site) -> None:
    """The ingest and its workers, as a machine that loses its power."""
    ingest = site.running["ingest"]
    workers = [int(pid) for pid in Path(f"/proc/{ingest.pid}/task/{ingest.pid}/children").read_text().split()]
    for pid in (ingest.pid, *workers):
        os.kill(pid, signal.SIGKILL)
    ingest.wait()
    site.wait("the end of the workers", lambda: not any(is_alive(pid) for pid in workers))


def is_alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.timeout(300)
def test_a_portal_that_one_host_has_only_noted_is_verified_after_a_kill(hosts: list[Site], oauth: FakeOAuth) -> None:
    one, two = hosts
    oauth.may_answer.clear()
    start(one)
    assert post(one, body("ONAPPINSTALL", access=ACCESS)) == 200
    one.wait("the question", lambda: ACCESS in oauth.asked)
    one.wait("the note", lambda: bool(rows(one, "list")))
    kill_all(one)
    # Who waits for an answer is dead; whoever asks from now on gets one.
    oauth.may_answer.set()
    start(two)

    two.wait("the proof", lambda: any(row["state"] == "verified" for row in rows(two, "list")))

    assert len(oauth.asked) >= 2
