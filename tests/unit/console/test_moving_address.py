"""How the queues of a move are called."""

from pathlib import Path

import pytest

from forebay.console.errors import WrongUsage
from forebay.console.moving.address import name_of, url_of


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("postgresql://forebay:p%40ss@db.example:5432/forebay?sslmode=require", "postgresql://db.example:5432/forebay"),
        ("mariadb://forebay:secret@db.example/forebay", "mariadb://db.example/forebay"),
        ("postgresql:///forebay?host=/run/pg&password=x&port=5433", "postgresql:///forebay?host=%2Frun%2Fpg&port=5433"),
        ("kafka://b:9092,a:9092", "kafka://a:9092,b:9092"),
        ("sqlite:////var/lib/queue.db", "sqlite:////var/lib/queue.db"),
        ("memory://one", "memory://one"),
    ],
)
def test_a_name_has_no_secret_and_is_the_same_however_it_is_written(url: str, name: str) -> None:
    assert name_of(url) == name


def test_one_file_has_one_name_from_every_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    assert name_of("sqlite:///queue.db") == name_of(f"sqlite:///{tmp_path}/queue.db")


def test_a_url_may_stand_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.write_text("postgresql://u:p@h/d\n", "utf-8")

    assert url_of(f"@{file}") == "postgresql://u:p@h/d"
    assert url_of("kafka://h:9092") == "kafka://h:9092"
    with pytest.raises(WrongUsage, match="can't be read"):
        url_of(f"@{tmp_path}/nothing")
