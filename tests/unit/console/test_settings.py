"""What settings are, together: every fault at once, and no secret is shown."""

from pathlib import Path

import pytest

from forebay.console.settings import Loaded, load_settings
from forebay.queues.bad_settings import BadSettings
from tests.unit.console.written import Write, faults_of


def test_the_queue_is_sqlite_in_the_data_dir_unless_it_is_named() -> None:
    assert load_settings(environ={}).settings.queue_url == f"sqlite:///{Path.cwd()}/forebay-data/queue.db"
    assert load_settings(environ={"FOREBAY_DATA_DIR": "/d"}).settings.queue_url == "sqlite:////d/queue.db"


def test_all_faults_are_told_at_once_with_their_places(write: Write) -> None:
    config = write('topik = "x"\nmax_depth = 1000')

    faults = faults_of(
        config,
        FOREBAY_PARTITION="3",
        FOREBAY_PARTITIONS="many",
        FOREBAY_TOKENS='{"a": ',
        FOREBAY_SEAL_KEYS_FILE="/nowhere",
        FOREBAY_URL_SECRET="short",
        FOREBAY_ENDPOINTS='[{"path": "/b24", "paht": "/"}]',
    )

    text = "\n".join(faults)
    assert "endpoints.0.paht (from FOREBAY_ENDPOINTS): there is no such setting\n" in f"{text}\n"
    assert "FOREBAY_PARTITION: there is no such setting; did you mean partitions?" in text
    assert f"topik (from {config}): there is no such setting; did you mean topic?" in text
    assert f"max_depth (from {config})" in text
    assert "partitions (from FOREBAY_PARTITIONS)" in text
    assert "FOREBAY_TOKENS: is not valid JSON" in text
    assert "FOREBAY_SEAL_KEYS_FILE: can't read /nowhere" in text
    assert "url_secret (from FOREBAY_URL_SECRET)" in text


def test_a_working_directory_that_is_gone_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (gone := tmp_path / "gone").mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()

    assert faults_of()[0].startswith("data_dir: the working directory, which it is in, was deleted")


def test_everybody_is_let_in_on_loopback_only() -> None:
    assert load_settings(environ={}).settings.served[0].auth == ("none",)
    assert "auth" in faults_of(FOREBAY_BIND="0.0.0.0:8080")[0]
    written = load_settings(environ={"FOREBAY_BIND": "0.0.0.0:8080", "FOREBAY_AUTH": "none"})
    assert written.settings.served[0].auth == ("none",)


@pytest.mark.parametrize(
    ("environ", "fault"),
    [
        ({"METRICS_BIND": "0.0.0.0:8080"}, "metrics_bind needs another port than bind"),
        ({"BIND": "127.0.0.1:9000", "METRICS_BIND": "127.0.0.1:9000"}, "metrics_bind needs another port than bind"),
        ({"AUTH": "tokens"}, "tokens needs the setting tokens"),
        ({"AUTH": "url-secret"}, "url-secret needs the setting url_secret"),
        ({"BIND": "0.0.0.0:8080", "ENDPOINTS": '[{"path": "/a"}]'}, "/a: calls must be proved"),
        ({"ENDPOINTS": '[{"path": "/a"}]', "TOKENS": '{"*": "t"}'}, "move them into endpoints"),
        ({"ENDPOINTS": '[{"path": "/a"}]', "URL_SECRET": "0123456789abcdef"}, "move them into endpoints"),
    ],
)
def test_settings_that_contradict_each_other_are_a_fault_in_the_union_of_the_rooms_too(
    environ: dict[str, str], fault: str
) -> None:
    faults = faults_of(None, **{f"FOREBAY_{name}": value for name, value in environ.items()}, FOREBAY_PARTITIONS="0")

    assert len(faults) == 2
    assert any(fault in one for one in faults)


def _with_secrets() -> Loaded:
    return load_settings(
        environ={
            "FOREBAY_QUEUE_URL": "redis://forebay:hunter2hunter2@server/0",
            "FOREBAY_TOKENS": '{"a.ru": "hunter2hunter2"}',
            "FOREBAY_SEAL_KEYS": '{"k1": "aHVudGVyMmh1bnRlcjJodW50ZXIyaHVudGVyMjEyMzQ="}',
            "FOREBAY_AUTH": "tokens",
            "FOREBAY_URL_SECRET": '["hunter2hunter2hunter2", "hunter2hunter2hunter3"]',
        }
    )


def test_what_is_shown_has_no_secret_in_it() -> None:
    shown = str(_with_secrets().shown())

    assert "hunter2" not in shown
    assert "aHVudGVy" not in shown
    assert "redis://forebay:***@server/0" in shown
    assert "{k1: ***}" in shown
    assert "[***, ***]" in shown


@pytest.mark.parametrize(
    ("queue_url", "shown"),
    [
        ("postgresql://forebay:hunter2@db/events", "postgresql://forebay:***@db/events"),
        ("postgresql://db/events?user=me&password=hunter2&sslmode=require", "?user=me&password=***&sslmode=require"),
        ("kafka://h1:9092,h2:9092", "kafka://h1:9092,h2:9092"),
        ("sqlite:////data/queue.db", "sqlite:////data/queue.db"),
    ],
)
def test_a_queue_is_shown_without_its_password(queue_url: str, shown: str) -> None:
    told = load_settings(environ={"FOREBAY_QUEUE_URL": queue_url}).shown()["queue_url"][0]

    assert shown in told
    assert "hunter2" not in told


def test_a_password_that_is_not_escaped_is_told_with_the_other_faults() -> None:
    with pytest.raises(BadSettings, match="%40 for @") as refused:
        load_settings(environ={"FOREBAY_QUEUE_URL": "postgresql://me:hunter2@here@db/events", "FOREBAY_GROUP": "?"})

    assert len(refused.value.faults) == 2
    assert "hunter2" not in str(refused.value)


def test_a_fault_never_shows_the_value() -> None:
    faults = faults_of(
        FOREBAY_SEAL_KEYS='{"k1": "hunter2"}',
        FOREBAY_TOKENS='{"a.ru": ["hunter2", 5]}',
        FOREBAY_OAUTH_URLS='["https://me:hunter2@oauth.bitrix.info/rest"]',
    )

    assert len(faults) == 3
    assert "hunter2" not in "\n".join(faults)


def test_a_queue_that_nobody_knows_is_a_fault_like_any_other() -> None:
    faults = faults_of(FOREBAY_QUEUE_URL="pigeon://x", FOREBAY_PARTITIONS="many")

    assert len(faults) == 2
    assert any("queue_url (from FOREBAY_QUEUE_URL): no queue is called 'pigeon'; there are " in one for one in faults)


@pytest.mark.parametrize(
    "queue_url",
    [
        "kafka://",
        "kafka://broker:port",
        "kafka+ssl://broker:9092",
        "sqlite://",
        "sqlite:queue.db",
        "sqlite://srv/queue.db",
        "sqlite:///queue.db?mode=ro",
    ],
)
def test_so_is_a_queue_url_that_can_not_be_meant(queue_url: str) -> None:
    faults = faults_of(FOREBAY_QUEUE_URL=queue_url, FOREBAY_PARTITIONS="many")

    assert len(faults) == 2
    assert any("queue_url (from FOREBAY_QUEUE_URL): " in one for one in faults)


def test_a_list_or_table_of_another_shape_is_told_with_an_example() -> None:
    faults = "\n".join(faults_of(FOREBAY_TOKENS="abc", FOREBAY_ENDPOINTS="/b24", FOREBAY_SEAL_KEYS="k"))

    assert 'tokens (from FOREBAY_TOKENS): should look like {"<portal' in faults
    assert "endpoints (from FOREBAY_ENDPOINTS): should look like [{" in faults
    assert 'seal_keys (from FOREBAY_SEAL_KEYS): should look like {"<key id>' in faults


def test_who_may_call_is_a_table_in_the_environment_too() -> None:
    loaded = load_settings(environ={"FOREBAY_CALLERS": '{"allow": ["203.0.113.0/24"], "trusted_proxies": "127.0.0.1"}'})

    assert loaded.settings.callers.allow == ("203.0.113.0/24",)
    assert "trusted_proxies: [127.0.0.1]" in loaded.shown()["callers"][0]
    assert 'callers (from FOREBAY_CALLERS): should look like {"allow":' in "\n".join(faults_of(FOREBAY_CALLERS="x"))
    assert "callers.allow (from FOREBAY_CALLERS): 'x' is no" in faults_of(FOREBAY_CALLERS='{"allow": ["x"]}')[0]


@pytest.mark.parametrize("auth", ["registry", "none"])
@pytest.mark.parametrize(
    ("queue_url", "system"), [("amqp://user:hush@host/", "RabbitMQ"), ("memcached://host:11211", "Memcached")]
)
def test_what_a_queue_can_not_keep_of_portals_is_refused_at_the_start_with_all_else(
    auth: str, queue_url: str, system: str
) -> None:
    faults = faults_of(
        FOREBAY_AUTH=auth,
        FOREBAY_CLIENT_ID="app.1",
        FOREBAY_SEAL_KEYS='{"one": "' + "A" * 43 + '="}',
        FOREBAY_QUEUE_URL=queue_url,
        FOREBAY_PARTITIONS="0",
    )

    assert [fault.partition(" (from")[0] for fault in faults] == ["partitions", "seal_keys"]
    assert f"{system} can't keep what is known of portals" in faults[1]
    assert "hush" not in "".join(faults)
