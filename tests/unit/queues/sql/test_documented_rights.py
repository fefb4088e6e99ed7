"""The rights that the documents tell to grant are those on the tables that there are."""

from pathlib import Path

from forebay.queues.sql.tables import metadata

DOCS = Path(__file__).parents[4] / "docs"


def test_a_worker_that_is_set_up_by_the_document_has_a_right_on_every_table() -> None:
    [grant] = [line for line in (DOCS / "postgresql.md").read_text("utf-8").splitlines() if "forebay_meta," in line]

    assert [table for table in metadata.tables if table not in grant] == []
