"""The table of marks that the documents tell to make is the one that is used."""

import re
from pathlib import Path

from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

from forebay.processors.dedup.table import mark

DOCS = Path(__file__).parents[3] / "docs"


def words(sql: str) -> list[str]:
    return re.findall(r"[a-z0-9_]+|[(),]", sql.lower())


def test_who_makes_the_table_of_marks_by_the_document_makes_ours() -> None:
    [documented] = re.findall("```sql\n(.*?)```", (DOCS / "idempotence.md").read_text("utf-8"), re.DOTALL)
    [index] = mark.indexes

    ours = [str(one.compile(dialect=postgresql.dialect())) for one in (CreateTable(mark), CreateIndex(index))]  # type: ignore[no-untyped-call]  # SQLAlchemy's

    assert words(documented) == words(" ".join(ours))
