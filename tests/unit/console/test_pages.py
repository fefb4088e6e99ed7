"""The operators' page: what becomes of values in HTML, who sees it, and what it costs the queue."""

import asyncio
from base64 import b64encode
from pathlib import Path

import pytest
from falcon.testing import TestClient
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from forebay.console.pages.app import create_app
from forebay.console.pages.layout import html_of
from forebay.console.pages.look import Looks
from forebay.console.pages.page import MOST_ROWS, Page, Sheet
from forebay.console.settings import Settings, load_settings
from forebay.console.terminal.output import clean
from forebay.queues.bad_settings import BadSettings
from forebay.queues.errors import QueueUnavailable
from tests.clock import Clock
from tests.pages import shown

PASSWORD = "a-password-that-is-long-enough"

#: What HTML, or whoever reads it, might take for something else.
NASTY = st.text(st.sampled_from("<>&\"'/=;ax \n\x00\x1b\x85\u2028\u202e"), min_size=1, max_size=20)


def with_values(text: str, portal: str) -> Page:
    sheet = Sheet(
        title=text,
        rows=[{"portal": portal, "error": text, "held": True, "records": 7, "nothing": None}],
        nothing="nothing",
        note=text,
        commands=[text],
        links={"portal": lambda row: f"/portals/{row['portal']}"},
        is_bad=lambda row: True,
    )
    return Page(
        title=text, sheets=[sheet], values={"error": text, "event": {text: text}}, commands=[text], filters={text: text}
    )


def written_out(text: str) -> str:
    return "\n".join(map(clean, text.splitlines()))


@given(NASTY, NASTY)
def test_no_value_becomes_a_part_of_the_page(text: str, portal: str) -> None:
    plain = shown(html_of(with_values("a\nb" if "\n" in text else "ab", "b"), "topic"))

    page = shown(html_of(with_values(text, portal), text))

    assert page.elements == plain.elements
    assert page.attributes.keys() == plain.attributes.keys()
    assert page.tables[0][0]["error"] == clean(text)
    assert page.texts["code"] == [written_out(text)] * 2
    assert set(page.texts["title"]) == {written_out(f"{text} · Forebay")}


def test_a_page_shows_no_more_rows_than_somebody_reads_and_says_so() -> None:
    sheet = Sheet(
        title="Open dead letters", rows=[{"id": number} for number in range(MOST_ROWS + 1200)], nothing="none"
    )

    page = shown(html_of(Page(title="Dead letters", sheets=[sheet]), "topic"))

    assert len(page.tables[0]) == MOST_ROWS
    assert page.texts["h2"] == ["Open dead letters (1,400)"]
    assert "and 1,200 more, which the command shows" in page.texts["p"]


def client(password: str | None = None) -> TestClient:
    return TestClient(create_app(Settings(web_password=SecretStr(password) if password else None)))


def basic(given: str) -> dict[str, str]:
    return {"Authorization": f"Basic {b64encode(given.encode()).decode()}"}


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8090", "localhost:8090", "[::1]:8090", "127.0.0.1", "LOCALHOST", "localhost:"]
)
def test_without_a_password_it_is_shown_under_a_name_of_this_machine(host: str) -> None:
    assert client().simulate_get("/style.css", host=host).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "evil.example:8090", "localhost.evil.example", "10.0.0.1", "[::2]:8090", "evil@localhost"),
        *("localhost:x", "[::1]:x", "[::1", "localhost:80:evil.example", "[::1]evil.example", ""),
    ],
)
def test_a_site_that_leads_its_own_name_here_gets_nothing(host: str) -> None:
    found = client().simulate_get("/", host=host)

    assert found.status_code == 403
    assert "web_password" in found.text


@pytest.mark.parametrize(
    "headers",
    [
        {},
        basic("anybody:wrong"),
        basic(f"anybody:{PASSWORD}x"),
        basic(PASSWORD),
        basic(f"{PASSWORD}:"),
        {"Authorization": f"Bearer {PASSWORD}"},
        {"Authorization": "Basic"},
        {"Authorization": "Basic ä"},
        {"Authorization": "Basic ====="},
    ],
)
def test_with_a_password_nobody_else_sees_anything(headers: dict[str, str]) -> None:
    for path in ("/", "/dead", "/style.css", "/nothing"):
        found = client(PASSWORD).simulate_get(path, headers=headers)

        assert found.status_code == 401
        assert found.headers["www-authenticate"].startswith("Basic ")
        assert PASSWORD not in found.text


def test_who_has_the_password_comes_in_under_any_name() -> None:
    for said in (f"anybody:{PASSWORD}", f":{PASSWORD}"):
        found = client(PASSWORD).simulate_get("/style.css", host="forebay.example", headers=basic(said))
        assert found.status_code == 200


def test_a_password_may_have_a_colon_and_other_letters() -> None:
    password = "größe:mit:doppelpunkten"

    assert client(password).simulate_get("/style.css", headers=basic(f"me:{password}")).status_code == 200


@pytest.mark.parametrize("path", ["/live", "/ready"])
def test_whether_it_lives_may_be_asked_by_anybody(path: str) -> None:
    assert client(PASSWORD).simulate_get(path, host="10.1.2.3:8090").status_code == 200


@pytest.mark.parametrize("path", ["/live", "/style.css", "/dead"])
def test_head_is_answered_as_get_without_the_page(path: str, tmp_path: Path) -> None:
    asked = TestClient(create_app(Settings(data_dir=tmp_path)))

    found, shown = (asked.simulate_request(method, path, host="localhost") for method in ("HEAD", "GET"))

    assert (found.status_code, found.headers) == (shown.status_code, shown.headers)
    assert found.text == ""


@pytest.mark.parametrize("path", ["/style.css", "/nothing", "/live"])
def test_whatever_is_answered_runs_no_script_and_stays_nowhere(path: str) -> None:
    found = client().simulate_get(path, host="localhost")

    assert found.headers["content-security-policy"].startswith("default-src 'none'")
    assert "frame-ancestors 'none'" in found.headers["content-security-policy"]
    assert found.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_can_be_changed(method: str) -> None:
    assert client().simulate_request(method, "/dead", host="localhost").status_code == 405


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"web_bind": "0.0.0.0:8090"}, "web_password"),
        ({"web_bind": "[::]:8090"}, "web_password"),
        ({"web_bind": "8090"}, "host:port"),
        ({"web_password": "short"}, "16 characters"),
    ],
)
def test_a_page_for_others_needs_a_password_that_can_not_be_guessed(options: dict[str, str], fault: str) -> None:
    with pytest.raises(BadSettings, match=fault) as raised:
        load_settings(options=options, environ={})

    assert "short" not in str(raised.value)


def test_a_password_is_never_shown(tmp_path: Path) -> None:
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    environ = {"FOREBAY_WEB_PASSWORD_FILE": str(tmp_path / "password"), "FOREBAY_WEB_BIND": "0.0.0.0:8090"}

    loaded = load_settings(environ=environ)

    assert loaded.settings.web_password and loaded.settings.web_password.get_secret_value() == PASSWORD
    assert PASSWORD not in repr(loaded.settings) + str(loaded.shown())


async def test_many_browsers_cost_the_queue_one_look() -> None:
    looked: list[int] = []

    async def look_up() -> Page:
        looked.append(1)
        await asyncio.sleep(0)
        return Page(title="Overview")

    looks = Looks(Clock())
    pages = await asyncio.gather(*(looks.page("/", look_up) for _ in range(50)))

    assert len(looked) == 1
    assert all(page is pages[0] for page in pages)


async def test_a_look_that_took_long_is_not_repeated_soon() -> None:
    clock, looked = Clock(), []

    async def look_up() -> Page:
        looked.append(clock())
        clock.now += 3
        return Page(title="Dead letters")

    looks = Looks(clock)
    for _ in range(30):
        await looks.page("/dead", look_up)
        clock.now += 1

    assert looked == [0.0, 18.0]


async def test_what_failed_is_told_to_all_who_wait_for_it_and_then_looked_up_again() -> None:
    clock, looked = Clock(), []

    async def look_up() -> Page:
        looked.append(clock())
        clock.now += 20
        await asyncio.sleep(0)
        if len(looked) == 1:
            raise QueueUnavailable("away")
        return Page(title="Overview")

    looks = Looks(clock)
    told = await asyncio.gather(*(looks.page("/", look_up) for _ in range(50)), return_exceptions=True)
    clock.now += 3
    page = await looks.page("/", look_up)

    assert {str(one) for one in told} == {"away"}
    assert looked == [0.0, 23.0]
    assert page.title == "Overview"


async def test_nobody_waits_for_the_pages_of_all_others() -> None:
    async def look_up() -> Page:
        await asyncio.Event().wait()
        raise AssertionError

    looks = Looks(Clock(), patience_s=0.01)
    told = await asyncio.gather(*(looks.page(one, look_up) for one in range(50)), return_exceptions=True)

    assert sum("kept the queue busy" in str(one) for one in told) > 25
    assert {type(one) for one in told} == {QueueUnavailable}


async def test_a_page_that_is_known_does_not_wait_for_another() -> None:
    looks, looking = Looks(Clock()), asyncio.Event()

    async def known() -> Page:
        return Page(title="Overview")

    async def hanging() -> Page:
        looking.set()
        await asyncio.Event().wait()
        raise AssertionError

    page = await looks.page("/", known)
    other = asyncio.create_task(looks.page("/dead", hanging))
    await looking.wait()

    assert await asyncio.wait_for(looks.page("/", known), 10) is page
    other.cancel()


async def test_nobody_waits_for_ever() -> None:
    async def look_up() -> Page:
        await asyncio.Event().wait()
        raise AssertionError

    with pytest.raises(QueueUnavailable, match="within 0"):
        await Looks(Clock(), patience_s=0.01).page("/", look_up)
