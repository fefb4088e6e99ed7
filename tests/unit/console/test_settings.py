"""Settings: three places, the later wins; every fault at once; no secret is shown."""

from base64 import b64encode
from collections.abc import Callable
from pathlib import Path

import pytest

from forebay.console.settings import BadSettings, Loaded, load_settings
from forebay.queues.kafka.properties import everywhere, with_password

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def written(text: str) -> Path:
        path = tmp_path / "forebay.toml"
        path.write_text(text)
        return path

    return written


def faults_of(config: Path | None = None, **environ: str) -> list[str]:
    with pytest.raises(BadSettings) as refused:
        load_settings(config, environ=environ)
    return refused.value.faults


def test_the_command_line_wins_over_the_environment_and_that_over_the_file(write: Write) -> None:
    config = write('topic = "file"\ngroup = "file"\npartitions = 3')

    loaded = load_settings(
        config, {"topic": "option", "bind": None}, {"FOREBAY_TOPIC": "variable", "FOREBAY_GROUP": "variable"}
    )

    assert (loaded.settings.topic, loaded.settings.group, loaded.settings.partitions) == ("option", "variable", 3)
    assert loaded.sources == {"topic": "--topic", "group": "FOREBAY_GROUP", "partitions": str(config)}


def test_the_queue_is_sqlite_in_the_data_dir_unless_it_is_named() -> None:
    assert load_settings(environ={}).settings.queue_url == f"sqlite:///{Path.cwd()}/forebay-data/queue.db"
    assert load_settings(environ={"FOREBAY_DATA_DIR": "/d"}).settings.queue_url == "sqlite:////d/queue.db"


def test_lists_and_tables_are_json_in_the_environment() -> None:
    tokens = '{"a.bitrix24.ru": ["one", "two"]}'

    settings = load_settings(environ={"FOREBAY_AUTH": "tokens", "FOREBAY_TOKENS": tokens}).settings

    assert settings.auth == ("tokens",)
    assert [token.get_secret_value() for token in settings.tokens["a.bitrix24.ru"]] == ["one", "two"]


def test_a_secret_may_come_from_a_file(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("0123456789abcdef0123\n")

    loaded = load_settings(environ={"FOREBAY_AUTH": "url-secret", "FOREBAY_URL_SECRET_FILE": str(secret)})

    assert [one.get_secret_value() for one in loaded.settings.url_secret] == ["0123456789abcdef0123"]
    assert loaded.sources["url_secret"] == "FOREBAY_URL_SECRET_FILE"


def test_a_file_with_nothing_in_it_is_no_default(tmp_path: Path) -> None:
    (secret := tmp_path / "queue-url").write_text("\n")

    assert faults_of(FOREBAY_QUEUE_URL_FILE=str(secret)) == [f"FOREBAY_QUEUE_URL_FILE: {secret} is empty"]


@pytest.mark.parametrize(
    "variable", ["QUEUE_URL", "TOPIC", "PARTITIONS", "TOKENS", "METRICS_BIND", "KAFKA__SSL_CA_LOCATION", "CONFIG"]
)
@pytest.mark.parametrize("text", ["", " \n"])
def test_a_variable_with_nothing_in_it_is_no_default(variable: str, text: str) -> None:
    assert faults_of(None, **{f"FOREBAY_{variable}": text}) == [
        f"FOREBAY_{variable}: is empty; leave it out for the default"
    ]


def test_a_setting_of_the_file_with_nothing_in_it_is_no_default_unless_another_place_has_it(write: Write) -> None:
    config = write('queue_url = ""')

    assert faults_of(config) == [f"queue_url (from {config}): is empty; leave it out for the default"]
    assert load_settings(config, environ={"FOREBAY_QUEUE_URL": "memory://"}).settings.queue_url == "memory://"


def test_all_empty_variables_are_told_at_once_and_with_other_faults() -> None:
    faults = faults_of(FOREBAY_TOPIC="", FOREBAY_QUEUE_URL="", FOREBAY_PARTITIONS="many", FOREBAY_TOPIK="")

    told = [fault.partition(":")[0] for fault in faults]
    assert told == ["FOREBAY_QUEUE_URL", "FOREBAY_TOPIC", "FOREBAY_TOPIK", "partitions (from FOREBAY_PARTITIONS)"]


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


def test_a_variable_and_its_file_together_are_a_fault(tmp_path: Path) -> None:
    faults = faults_of(FOREBAY_TOPIC="a", FOREBAY_TOPIC_FILE=str(tmp_path))

    assert any("FOREBAY_TOPIC_FILE" in fault for fault in faults)


def test_a_config_file_that_is_broken_or_missing_is_a_fault(write: Write, tmp_path: Path) -> None:
    assert "forebay.toml" in faults_of(write("topic = "))[0]
    assert "none.toml" in faults_of(tmp_path / "none.toml")[0]


def test_what_stands_in_place_of_a_config_file_is_a_fault_and_no_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (config := tmp_path / "forebay.toml").mkdir()

    assert faults_of() == ["forebay.toml: [Errno 21] Is a directory: 'forebay.toml'"]

    config.rmdir()
    config.symlink_to("/nowhere/forebay.toml")

    assert faults_of() == ["forebay.toml: [Errno 2] No such file or directory: 'forebay.toml'"]


def test_the_mark_that_editors_of_windows_begin_a_file_with_is_no_part_of_it(tmp_path: Path) -> None:
    (config := tmp_path / "forebay.toml").write_text('topic = "here"\r\n', "utf-8-sig", newline="")
    (secret := tmp_path / "secret").write_text("hunter2\r\n", "utf-8-sig", newline="")

    loaded = load_settings(
        config, environ={"FOREBAY_QUEUE_URL": "kafka://h", "FOREBAY_KAFKA__SASL_PASSWORD_FILE": str(secret)}
    )

    assert loaded.settings.topic == "here"
    assert with_password(everywhere(loaded.settings))["sasl.password"] == "hunter2"


def test_a_working_directory_that_is_gone_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (gone := tmp_path / "gone").mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()

    assert faults_of()[0].startswith("data_dir: the working directory, which it is in, was deleted")


def test_a_folder_that_may_not_be_looked_into_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "lstat", refuses)

    assert faults_of() == ["forebay.toml: [Errno 13] Permission denied: 'forebay.toml'"]


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


def test_what_kubernetes_tells_of_a_service_called_forebay_is_no_setting() -> None:
    service = {
        "FOREBAY_SERVICE_HOST": "10.0.0.1",
        "FOREBAY_SERVICE_PORT": "8080",
        "FOREBAY_SERVICE_PORT_HTTP": "8080",
        "FOREBAY_PORT": "tcp://10.0.0.1:8080",
        "FOREBAY_PORT_8080_TCP": "tcp://10.0.0.1:8080",
        "FOREBAY_PORT_8080_TCP_ADDR": "10.0.0.1",
        "FOREBAY_INGEST_SERVICE_HOST": "10.0.0.1",
        "FOREBAY_INGEST_PORT": "tcp://10.0.0.1:8080",
        "FOREBAY_INGEST_PORT_8080_TCP_PROTO": "tcp",
    }

    assert load_settings(environ=service).sources == {}
    assert "FOREBAY_PORT: there is no such setting" in faults_of(FOREBAY_PORT="8080")[0]


def test_one_property_of_a_table_may_come_alone_from_a_file_beside_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "password").write_text("guess\n")
    monkeypatch.chdir(tmp_path)

    loaded = load_settings(
        environ={
            "FOREBAY_QUEUE_URL": "kafka://kafka1:9092",
            "FOREBAY_KAFKA": '{"sasl.username": "forebay"}',
            "FOREBAY_KAFKA__SASL_PASSWORD_FILE": "password",
            "FOREBAY_SCHEMA_REGISTRY__BASIC_AUTH_USER_INFO": "forebay:guess",
        }
    )

    # Wherever a handler goes.
    monkeypatch.chdir("/")
    assert loaded.settings.kafka["sasl.username"] == "forebay"
    assert set(loaded.settings.kafka) == {"sasl.username", "sasl.password.file"}
    assert with_password(everywhere(loaded.settings))["sasl.password"] == "guess"
    assert loaded.sources["kafka"] == "FOREBAY_KAFKA, FOREBAY_KAFKA__SASL_PASSWORD_FILE"
    assert list(loaded.settings.schema_registry) == ["basic.auth.user.info"]
    assert "guess" not in str(loaded.shown())


def test_a_property_from_the_environment_wins_over_the_file_s_and_leaves_the_others(write: Write) -> None:
    config = write('queue_url = "kafka://k:9092"\nkafka = { "sasl.username" = "a", "sasl.password" = "b" }')

    kafka = load_settings(config, environ={"FOREBAY_KAFKA__SASL_USERNAME": "c"}).settings.kafka

    assert kafka["sasl.username"] == "c"
    assert set(kafka) == {"sasl.username", "sasl.password"}


def test_a_file_of_the_password_takes_the_place_of_one_that_is_written_and_the_other_way_round(
    write: Write, tmp_path: Path
) -> None:
    (file := tmp_path / "password").write_text("from a file", "utf-8")
    written = write('queue_url = "kafka://k:9092"\nkafka = { "sasl.password" = "b" }')
    from_file = load_settings(written, environ={"FOREBAY_KAFKA__SASL_PASSWORD_FILE": str(file)}).settings.kafka
    named = write(f'queue_url = "kafka://k:9092"\nkafka = {{ "sasl.password.file" = "{file}" }}')
    from_text = load_settings(named, environ={"FOREBAY_KAFKA__SASL_PASSWORD": "c"}).settings.kafka

    assert (set(from_file), set(from_text)) == ({"sasl.password.file"}, {"sasl.password"})


def test_a_property_that_stands_twice_in_the_environment_or_in_no_table_is_a_fault() -> None:
    faults = faults_of(
        FOREBAY_QUEUE_URL="kafka://k:9092",
        FOREBAY_KAFKA='{"sasl.username": "a"}',
        FOREBAY_KAFKA__SASL_USERNAME="b",
        FOREBAY_TOKENS__PORTAL="x",
        FOREBAY_KAFKA__SASL_PASSWORD_FILE="/nowhere",
    )

    assert any("FOREBAY_KAFKA__SASL_USERNAME: sasl.username is set by FOREBAY_KAFKA too" in fault for fault in faults)
    assert any("FOREBAY_TOKENS__PORTAL: there is no such setting" in fault for fault in faults)
    assert any("FOREBAY_KAFKA__SASL_PASSWORD_FILE: can't read /nowhere" in fault for fault in faults)


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


@pytest.mark.parametrize(
    ("table", "below", "told"),
    [
        ("kafka", 'auth = "tokens"\ntokens = { "*" = "hidden-token" }', "auth, tokens below [kafka] would be part"),
        ("callers", 'bind = "127.0.0.1:8081"', "bind below [callers] would be part"),
        ("forebay", 'queue_url = "kafka://h1"', "queue_url below [forebay] would be part"),
    ],
)
def test_what_stands_below_a_table_and_is_meant_for_itself_is_told(
    write: Write, table: str, below: str, told: str
) -> None:
    config = write(f'topic = "events"\n[{table}]\n{below}\n')

    faults = faults_of(config)

    assert faults[0].startswith(f"{config}: {told}")
    assert "put it above" in faults[0]
    assert "hidden-token" not in "".join(faults)


def test_a_key_of_ones_own_choice_may_have_the_name_of_a_setting(write: Write) -> None:
    config = write(f'[seal_keys]\nkey = "{b64encode(bytes(32)).decode()}"\n')

    assert list(load_settings(config, environ={}).settings.seal_keys) == ["key"]
