"""`forebay doctor` and `forebay topics` over PostgreSQL."""

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from forebay.queues import looks
from forebay.queues.sql.postgresql import diagnosis
from tests.databases.console import Command
from tests.postgresql.server import Server


@pytest.fixture
def forebay(postgresql_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.chdir(tmp_path)
    return Command(postgresql_url)


def test_a_healthy_server_is_found_so(forebay: Command) -> None:
    forebay.run("topics", "ensure")

    found = forebay.findings()

    kinds = ["version", "durability", "writes", "schema", "rights", "connections", "transactions", "sessions"]
    checks = ["queue", *(f"queue {kind}" for kind in kinds)]
    assert {check: found[check]["state"] for check in checks} == dict.fromkeys(checks, "ok")


def test_a_database_that_is_missing_is_found(forebay: Command) -> None:
    forebay.url = forebay.url.rpartition("/")[0] + "/nowhere"

    found = forebay.findings(status=1)

    assert found["queue"]["state"] == "fail"
    assert "CREATE DATABASE" in found["queue"]["detail"]


def test_a_transaction_that_is_open_for_long_is_found(forebay: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looks, "LONG_MIN", 0)
    forebay.run("topics", "ensure")

    with psycopg.connect(forebay.url) as other:
        other.execute("SELECT 1")
        found = forebay.findings()

    assert found["queue transactions"]["state"] == "warn"
    assert "pg_terminate_backend" in found["queue transactions"]["remedy"]


def test_few_connections_and_an_old_server_are_found(forebay: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looks, "SPARE", 1_000_000)
    monkeypatch.setattr(diagnosis, "_OLDEST", (1_000,))
    forebay.run("topics", "ensure")

    found = forebay.findings()

    assert "max_connections" in found["queue connections"]["remedy"]
    assert "upgrade" in found["queue version"]["remedy"]


def test_rights_that_lack_are_found(forebay: Command) -> None:
    forebay.run("topics", "ensure")
    with psycopg.connect(forebay.url, autocommit=True) as admin:
        admin.execute("CREATE ROLE doctored LOGIN PASSWORD 'hush'")
        admin.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO doctored")
        admin.execute("GRANT INSERT, UPDATE, DELETE ON forebay_record TO doctored")
        try:
            forebay.url = forebay.url.replace(forebay.url.split("//")[1].split("@")[0], "doctored:hush")
            found = forebay.findings(status=1)
        finally:
            admin.execute("DROP OWNED BY doctored")
            admin.execute("DROP ROLE doctored")

    assert found["queue rights"]["state"] == "fail"
    assert "forebay_claim" in found["queue rights"]["remedy"]
    assert "USAGE, UPDATE ON SEQUENCE forebay_offset_1_0" in found["queue rights"]["remedy"]
    assert "forebay_record" not in found["queue rights"]["remedy"]


def test_a_table_that_a_crash_empties_is_found(forebay: Command) -> None:
    forebay.run("topics", "ensure")
    with psycopg.connect(forebay.url, autocommit=True) as admin:
        admin.execute("ALTER TABLE forebay_record SET UNLOGGED")

    found = forebay.findings(status=1)

    assert "unlogged: forebay_record" in found["queue durability"]["detail"]


def test_a_server_that_does_not_sync_is_found(
    postgresql_servers: Callable[..., Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    forebay = Command(postgresql_servers("fsync=off").url())
    forebay.run("topics", "ensure")

    found = forebay.findings(status=1)

    assert "fsync = off" in found["queue durability"]["detail"]


def test_a_server_that_takes_no_writes_is_found(
    postgresql_servers: Callable[..., Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    server = postgresql_servers()
    forebay = Command(server.url())
    forebay.run("topics", "ensure")

    with psycopg.connect(forebay.url, autocommit=True) as admin:
        admin.execute("ALTER ROLE CURRENT_USER SET default_transaction_read_only = on")
    limited = forebay.findings(status=1)
    server.stop()
    (server.data / "standby.signal").touch()
    server.start()
    server.wait_ready()
    standing_by = forebay.findings(status=1)

    assert "ALTER ROLE" in limited["queue writes"]["remedy"]
    assert "a standby" in standing_by["queue writes"]["detail"]


def test_a_standby_that_commits_wait_for_and_is_away_is_found(
    postgresql_servers: Callable[..., Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    forebay = Command(postgresql_servers().url())
    forebay.run("topics", "ensure")
    with psycopg.connect(forebay.url, autocommit=True) as admin:
        admin.execute("ALTER SYSTEM SET synchronous_standby_names = 'away'")
        admin.execute("SELECT pg_reload_conf()")
        while admin.execute("SHOW synchronous_standby_names").fetchone() != ("away",):
            pass

    found = forebay.findings(status=1)

    assert found["queue writes"]["state"] == "fail"
    assert "synchronous_standby_names = away" in found["queue writes"]["detail"]


def test_a_primary_that_was_taken_over_from_and_came_back_is_found(
    postgresql_servers: Callable[..., Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    one, other = postgresql_servers(), postgresql_servers()
    both = f"127.0.0.1:{one.port},127.0.0.1:{other.port}"
    forebay = Command(one.url().replace(f"127.0.0.1:{one.port}", both))
    forebay.run("topics", "ensure")

    each_for_itself = forebay.findings(status=1)
    forebay.url = forebay.url.replace(f"127.0.0.1:{other.port}", f"localhost:{one.port}")
    two_ways_to_one = forebay.findings()
    forebay.url = forebay.url.replace(f"localhost:{one.port}", f"localhost:{other.port}")
    other.stop()
    one_is_down = forebay.findings()

    assert f"127.0.0.1:{one.port} and 127.0.0.1:{other.port}" in each_for_itself["queue primaries"]["detail"]
    assert each_for_itself["queue primaries"]["state"] == "fail"
    assert [found["queue primaries"]["state"] for found in (two_ways_to_one, one_is_down)] == ["ok", "ok"]
