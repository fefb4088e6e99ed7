"""The recipe of docs/idempotence.md: killed anywhere and handled again, the work is there once."""

import doctest
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, select

from forebay.processors import idempotence
from forebay.processors.idempotence import CannotClaim, Ledger
from forebay.processors.outcome import DONE
from forebay.processors.testing import event, run_now

from .outbox_recipe import DOCS, recipe_on

ROOT = Path(__file__).parents[2]

#: Claim, bill, outbox, commit, and then the worker's own commit.
STEPS = 5


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/shop.db"
    found: str = request.getfixturevalue("postgresql_url")
    return found.replace("postgresql://", "postgresql+psycopg://")


@pytest.fixture
def recipe(url: str) -> Iterator[Any]:
    made = recipe_on(url)
    made.prepare()
    yield made
    made.engine.dispose()


def victim(url: str, dies_at: int) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "tests.recipes.outbox_killed", url, str(dies_at)]
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False, timeout=60)


def rows(recipe: Any, table: Any) -> list[Any]:
    with recipe.engine.connect() as connection:
        return list(connection.execute(select(table)))


def empty(recipe: Any) -> None:
    with recipe.engine.begin() as connection:
        for table in (*recipe.tables.sorted_tables, idempotence._ledger):
            connection.execute(table.delete())


def test_killed_anywhere_and_handled_again_the_work_is_there_once(recipe: Any, url: str) -> None:
    assert f"steps {STEPS}" in victim(url, 0).stdout
    for dies_at in range(1, STEPS + 1):
        empty(recipe)

        died = victim(url, dies_at)
        left = len(rows(recipe, recipe.bills))
        again = run_now(recipe.handlers, event("ONCRMDEALADD", data={"FIELDS": {"ID": 7}}, id="the event's id"))

        assert died.returncode == -signal.SIGKILL, died.stderr
        assert left == (1 if dies_at == STEPS else 0), f"killed at step {dies_at}"
        assert again is DONE
        assert rows(recipe, recipe.bills) == [("example.bitrix24.com", "7")], f"killed at step {dies_at}"
        assert [row.key for row in rows(recipe, recipe.outbox)] == ["the event's id"]


def test_what_was_sent_and_not_noted_goes_out_again_under_its_key(recipe: Any) -> None:
    for number in (7, 8):
        run_now(recipe.handlers, event("ONCRMDEALADD", data={"FIELDS": {"ID": number}}, id=f"event {number}"))
    sent: list[str] = []

    def dies_after_the_first(key: str, text: str) -> None:
        sent.append(key)
        raise ConnectionError("killed before it could note that")

    with pytest.raises(ConnectionError):
        recipe.send_waiting(dies_after_the_first)
    recipe.send_waiting(lambda key, text: sent.append(key))
    recipe.send_waiting(lambda key, text: sent.append(key))

    assert sent == ["event 7", "event 7", "event 8"]


def test_two_at_once_make_one_claim(url: str) -> None:
    engine, ledger = create_engine(url), Ledger("shop")
    ledger.create(engine)
    begun, answers = threading.Event(), []

    def other() -> None:
        with engine.begin() as connection:
            begun.set()
            answers.append(ledger.claim(connection, "one"))

    thread = threading.Thread(target=other)
    with engine.begin() as connection:
        assert ledger.claim(connection, "one")
        thread.start()
        assert begun.wait(30)
    thread.join(30)

    assert answers == [False]
    engine.dispose()


def test_what_is_undone_was_never_claimed_and_names_don_t_mix(url: str) -> None:
    engine, ledger = create_engine(url), Ledger("shop")
    ledger.create(engine)

    def fail() -> None:
        with engine.begin() as connection:
            assert ledger.claim(connection, "one")
            raise LookupError

    with pytest.raises(LookupError):
        fail()
    with engine.begin() as connection:
        assert ledger.claim(connection, "one")
        assert Ledger("other").claim(connection, "one")
        assert not ledger.claim(connection, "one")
        assert ledger.forget(connection, older_than_s=-5) == 1
        assert ledger.claim(connection, "one")
        with pytest.raises(CannotClaim):
            ledger.claim(connection, "k" * 201)
    engine.dispose()


def test_the_docstring_s_example_works_and_the_page_shows_the_recipe() -> None:
    outcome = doctest.testmod(idempotence)

    assert (outcome.attempted > 0, outcome.failed) == (True, 0)
    assert (DOCS / "outbox.py").read_text() in (DOCS / "idempotence.md").read_text()
