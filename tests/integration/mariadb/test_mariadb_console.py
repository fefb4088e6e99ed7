"""`forebay doctor` and `forebay topics` over MariaDB."""

import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from forebay.queues import looks
from forebay.queues.sql.mariadb import diagnosis
from tests.databases.console import Command
from tests.databases.server import ADMIN, PASSWORD
from tests.mariadb.server import Server, asked, direct


@pytest.fixture
def forebay(mariadb_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.chdir(tmp_path)
    return Command(mariadb_url)


def test_a_healthy_server_is_found_so(forebay: Command) -> None:
    forebay.run("topics", "ensure")

    found = forebay.findings()

    names = (
        "version",
        "durability",
        "binlog",
        "cluster",
        "replicas",
        "rights",
        "connections",
        "transactions",
        "packets",
    )
    checks = ["queue", *(f"queue {name}" for name in names)]
    assert {check: found[check]["state"] for check in checks} == dict.fromkeys(checks, "ok")


def test_what_runs_short_is_found(forebay: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looks, "SPARE", 1_000_000)
    monkeypatch.setattr(diagnosis, "_OLDEST", (1_000, 0))
    monkeypatch.setattr(looks, "LONG_MIN", -1)
    forebay.run("topics", "ensure")

    found = forebay.findings()

    assert "max_connections" in found["queue connections"]["remedy"]
    assert "upgrade" in found["queue version"]["remedy"]
    assert "KILL" in found["queue transactions"]["remedy"]


def test_rights_that_lack_are_found(forebay: Command) -> None:
    forebay.run("topics", "ensure")
    database = forebay.url.rpartition("/")[2]
    with closing(direct(forebay.url)) as admin:
        asked(admin, "CREATE USER doctored IDENTIFIED BY 'hush'")
        asked(admin, f"GRANT SELECT ON {database}.* TO doctored")
        asked(admin, f"GRANT INSERT, UPDATE, DELETE ON {database}.forebay_record TO doctored")
        try:
            forebay.url = forebay.url.replace(forebay.url.split("//")[1].split("@")[0], "doctored:hush")
            found = forebay.findings(status=1)
        finally:
            asked(admin, "DROP USER doctored")

    assert found["queue rights"]["state"] == "fail"
    assert "GRANT UPDATE ON forebay_claim" in found["queue rights"]["remedy"]
    assert "forebay_record" not in found["queue rights"]["remedy"]
    assert "PROCESS" in found["queue transactions"]["detail"]


def test_a_table_of_an_engine_without_transactions_is_found(forebay: Command) -> None:
    forebay.run("topics", "ensure")
    with closing(direct(forebay.url)) as admin:
        asked(admin, "ALTER TABLE forebay_record ENGINE = Aria")

    found = forebay.findings(status=1)

    assert "not InnoDB's: forebay_record" in found["queue durability"]["detail"]


def test_limits_for_people_keep_doctor_from_nothing(
    mariadb_servers: Callable[..., Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    url = mariadb_servers().url()
    with closing(direct(url)) as admin:
        asked(admin, "SET GLOBAL sql_safe_updates = 1")
    forebay = Command(url)
    forebay.run("topics", "ensure")

    assert forebay.findings()["queue rights"]["state"] == "ok"


@pytest.mark.parametrize(("undone", "state"), [(0, "ok"), (7, "warn")])
def test_a_cluster_in_which_several_nodes_are_written_to_is_found(
    forebay: Command, monkeypatch: pytest.MonkeyPatch, undone: int, state: str
) -> None:
    # As a node of three says it: no cluster is started here.
    monkeypatch.setattr(diagnosis, "_NODES", f"SELECT 3e0, {undone}e0")
    forebay.run("topics", "ensure")

    found = forebay.findings()

    assert found["queue cluster"]["state"] == state
    assert "a Galera cluster of 3 nodes" in found["queue cluster"]["detail"]


def test_a_replica_that_may_take_over_and_is_not_waited_for_is_found(
    mariadb_servers: Callable[..., Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    primary = mariadb_servers("log-bin", "server-id=1", "sync-binlog=1", "rpl-semi-sync-master-timeout=1")
    replica = mariadb_servers("server-id=2", "rpl-semi-sync-slave-enabled=1")
    forebay = Command(primary.url())
    with closing(direct(primary.url())) as here, closing(direct(replica.url())) as there:
        asked(
            there,
            "CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = %s, MASTER_USER = %s, MASTER_PASSWORD = %s",
            (primary.port, ADMIN, PASSWORD),
        )
        asked(there, "START SLAVE")
        _wait(here, "Slaves_connected", "1")
        not_waited_for = forebay.findings()["queue replicas"]
        asked(here, "SET GLOBAL rpl_semi_sync_master_enabled = 1")
        _wait(here, "Rpl_semi_sync_master_clients", "1")
        waited_for = forebay.findings()["queue replicas"]
        asked(there, "STOP SLAVE")
        # It is given up for with the next commit.
        forebay.run("topics", "ensure")
        given_up = forebay.findings()["queue replicas"]

    assert [one["state"] for one in (not_waited_for, waited_for, given_up)] == ["warn", "ok", "warn"]
    assert "rpl_semi_sync_slave_enabled" in not_waited_for["remedy"]
    assert "rpl_semi_sync_master_timeout" in given_up["remedy"]


def _wait(connection: Any, status: str, value: str) -> None:
    """Return when the server says so."""
    while asked(connection, "SHOW GLOBAL STATUS LIKE %s", (status,)) != [(status, value)]:
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("options", "check", "state", "told"),
    [
        (("innodb-flush-method=nosync",), "queue durability", "fail", "innodb_flush_method = nosync"),
        (("innodb-doublewrite=0",), "queue durability", "warn", "innodb_doublewrite"),
        (("max-allowed-packet=1M",), "queue packets", "fail", "max_allowed_packet"),
        (("log-bin", "server-id=1", "sync-binlog=1", "binlog-format=STATEMENT"), "queue binlog", "fail", "MIXED"),
        (("innodb-flush-log-at-trx-commit=2",), "queue", "fail", "innodb_flush_log_at_trx_commit"),
    ],
)
def test_what_a_server_was_set_to_is_found(
    mariadb_servers: Callable[..., Server],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
    check: str,
    state: str,
    told: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    forebay = Command(mariadb_servers(*options).url())

    found = forebay.findings(status=1 if state == "fail" else 0)

    assert found[check]["state"] == state
    assert told in found[check]["detail"] + found[check]["remedy"]
