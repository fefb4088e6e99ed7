"""What is read or written in bulk."""

from functools import cache

# One step of a statement lets go of the GIL once, and while the event loop is busy the thread gets it back only after
# the switch interval (5 ms): a SELECT of 500 rows took 300 ms. So what is read or written in bulk crosses in one step:
# as one JSON text, or as one INSERT of many rows. Hex, since JSON has no bytes. (1,700 → 39,000 rows/s, measured.)
WANTED = "json_extract(wanted.value, '$[0]') = p.stream AND json_extract(wanted.value, '$[1]') = p.\"partition\""
ENDS = f"""
SELECT json_group_array(json_array(p.stream, p."partition", p.next_offset))
FROM json_each(?) AS wanted CROSS JOIN forebay_partition AS p WHERE {WANTED}
"""  # noqa: S608 - our own constant

# Not by UPDATE … FROM, which SQLite has since 3.33 only: Python takes the system's, which may be older.
TAKE = """
UPDATE forebay_partition SET next_offset = next_offset + (
    SELECT json_extract(wanted.value, '$[2]') FROM json_each(:wanted) AS wanted
    WHERE json_extract(wanted.value, '$[0]') = stream AND json_extract(wanted.value, '$[1]') = "partition"
) WHERE (stream, "partition") IN (
    SELECT json_extract(wanted.value, '$[0]'), json_extract(wanted.value, '$[1]') FROM json_each(:wanted) AS wanted
)
"""

# How far one may read within so many bytes is asked of the sizes alone: together with the values, SQLite would copy all
# of them into a temporary file, as large as what waits and not as what is wanted.
READ = """
SELECT json_group_array(json_array("offset", timestamp_ms, hex("key"), hex(headers), hex(value))) FROM (
    SELECT * FROM forebay_record
    WHERE stream = :stream AND "partition" = :partition AND "offset" >= :offset AND "offset" <= (
        SELECT max("offset") FROM (
            SELECT "offset", sum(size) OVER (ORDER BY "offset") - size AS bytes_before FROM (
                SELECT "offset", length(value) AS size FROM forebay_record
                WHERE stream = :stream AND "partition" = :partition AND "offset" >= :offset
                ORDER BY "offset" LIMIT :max_records
            )
        ) WHERE bytes_before < :max_bytes
    ) ORDER BY "offset"
)
"""

# hex(NULL) would be an empty text.
FACTS = """
SELECT json_group_array(json_array("offset", "key", CASE WHEN value IS NOT NULL THEN hex(value) END)) FROM (
    SELECT * FROM forebay_portal WHERE stream = ? AND "offset" >= ? ORDER BY "offset" LIMIT ?
)
"""


@cache
def insert(rows: int) -> str:
    """Of so many rows."""
    columns = 'stream, "partition", "offset", timestamp_ms, "key", headers, value'
    return f"INSERT INTO forebay_record ({columns}) VALUES " + ", ".join(["(?, ?, ?, ?, ?, ?, ?)"] * rows)  # noqa: S608
