"""Where settings are written: a file, the environment, options. The later wins; every fault is told at once."""

from base64 import b64encode
from pathlib import Path

import pytest

from forebay.console.settings import load_settings
from forebay.queues.kafka.properties import everywhere, with_password
from tests.unit.console.written import Write, faults_of


def test_the_command_line_wins_over_the_environment_and_that_over_the_file(write: Write) -> None:
    config = write('topic = "file"\ngroup = "file"\npartitions = 3')

    loaded = load_settings(
        config, {"topic": "option", "bind": None}, {"FOREBAY_TOPIC": "variable", "FOREBAY_GROUP": "variable"}
    )

    assert (loaded.settings.topic, loaded.settings.group, loaded.settings.partitions) == ("option", "variable", 3)
    assert loaded.sources == {"topic": "--topic", "group": "FOREBAY_GROUP", "partitions": str(config)}


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


def test_a_folder_that_may_not_be_looked_into_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "lstat", refuses)

    assert faults_of() == ["forebay.toml: [Errno 13] Permission denied: 'forebay.toml'"]


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
