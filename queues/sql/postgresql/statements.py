"""What is read or written in bulk: one statement each, with an array for each column.

The arrays go in binary (%b): as text, psycopg looks for quotes in each item, and it took four times as long (measured).
"""

# The end is behind the last record that everybody sees; where retention took all, it left the end as the beginning.
_END = """coalesce((
    SELECT r."offset" + 1 FROM forebay_record AS r
    WHERE r.stream = p.stream AND r."partition" = p."partition" AND r."offset" >= p.first_offset
    ORDER BY r."offset" DESC LIMIT 1
), p.first_offset)"""

ENDS = f"""
SELECT p.stream, p."partition", {_END}
FROM unnest(%b::int[], %b::int[]) AS w (stream, "partition") JOIN forebay_partition AS p USING (stream, "partition")
"""  # noqa: S608 - our own constant

# The rows are locked in one order, by all: two producers would wait for each other for ever. The lock is held until the
# transaction ends, so whoever comes next counts on from what everybody sees by then, and no offset becomes visible
# before a smaller one.
#
# The counting itself is a sequence's. A column that each batch updates leaves a version a batch, which nobody may clean
# up while some transaction, a backup for one, is older: with one open, 6,000 records a second became 700 within three
# minutes (measured). A sequence has no versions. What a failed transaction took stays a gap.
#
# But nothing before the end is given: logical replication takes the rows to another server, and no sequence. What got
# the number of a finished record would be taken for finished.
TAKE = f"""
SELECT stream, "partition", setval(counter, greatest(nextval(counter), least) + records - 1) - records + 1 FROM (
    SELECT p.stream, p."partition", w.records, {_END} AS least,
        ('forebay_offset_' || p.stream || '_' || p."partition")::regclass AS counter
    FROM unnest(%b::int[], %b::int[], %b::bigint[]) AS w (stream, "partition", records)
    JOIN forebay_partition AS p USING (stream, "partition")
    ORDER BY p.stream, p."partition" FOR NO KEY UPDATE OF p
) AS locked
"""  # noqa: S608 - our own constant

COUNTER = "CREATE SEQUENCE {}.forebay_offset_{}_{} MINVALUE 0"

UNCOUNTED = """
SELECT stream, "partition" FROM unnest(%b::int[], %b::int[]) AS w (stream, "partition")
WHERE to_regclass('forebay_offset_' || stream || '_' || "partition") IS NULL
"""

SCHEMA = """
SELECT n.nspname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.oid = 'forebay_partition'::regclass
"""

_ROWS = "unnest(%b::int[], %b::int[], %b::bigint[], %b::bigint[], %b::bytea[], %b::bytea[], %b::bytea[])"

APPEND = f"""
INSERT INTO forebay_record (stream, "partition", "offset", timestamp_ms, "key", headers, value) SELECT * FROM {_ROWS}
"""  # noqa: S608 - our own constant

KEPT = f"""
SELECT count(*) FROM {_ROWS} AS w (stream, "partition", "offset", timestamp_ms, "key", headers, value)
JOIN forebay_record AS r USING (stream, "partition", "offset", timestamp_ms, "key", headers, value)
"""  # noqa: S608 - our own constant

#: Waits for whoever writes to the partition, be it a session whose client is gone.
AFTER_OTHERS = 'SELECT 1 FROM forebay_partition WHERE stream = %s AND "partition" = %s FOR NO KEY UPDATE'

READ = """
SELECT "offset", timestamp_ms, "key", headers, value FROM (
    SELECT *, sum(octet_length(value)) OVER (ORDER BY "offset") - octet_length(value) AS bytes_before FROM (
        SELECT * FROM forebay_record WHERE stream = %s AND "partition" = %s AND "offset" >= %s
        ORDER BY "offset" LIMIT %s
    ) AS r
) AS r WHERE bytes_before < %s ORDER BY "offset"
"""

FACTS = """
SELECT "offset", "key", value FROM forebay_portal WHERE stream = %s AND "offset" >= %s ORDER BY "offset" LIMIT %s
"""

ANNOUNCE = "SELECT pg_notify(channel, payload) FROM unnest(%s::text[], %s::text[]) AS n (channel, payload)"

#: Of the server, since the members of a group are on many machines.
NOW_MS = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint"

# By the schema of the tables, or where they would be made: a user may find them in another one than its first.
_TURN = """hashtextextended(coalesce((
    SELECT n.nspname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.oid = to_regclass('forebay_meta')
), current_schema()) || ' forebay ' || %s, 0)"""

ALONE = f"SELECT pg_advisory_xact_lock({_TURN})"
BESIDE = f"SELECT pg_advisory_xact_lock_shared({_TURN})"

# In one statement: behind a pooler the next may go to another session. What the server does not know yet is left out.
#
# A server may have been set to answer a COMMIT before it is on the disk. Any other value waits for the disk at least.
# That one is set for the session too: it would change with the server's files otherwise.
SESSION = """
SELECT set_config('forebay.session', {}, false),
    set_config('synchronous_commit', replace(current_setting('synchronous_commit'), 'off', 'on'), false)
UNION ALL SELECT set_config(name, value, false), NULL FROM unnest({}::text[], {}::text[]) AS s (name, value)
WHERE current_setting(name, true) IS NOT NULL
"""

BEGIN = "BEGIN; SELECT current_setting('forebay.session', true)"

# Rows that are updated again and again: room on their page for the new versions, which then need no new entry in an
# index and are cleaned up without a vacuum. Records come and go: a vacuum after 2 % instead of 20 % of a week's events,
# and without pauses, or it never catches up with a steady load.
TUNE = (
    *(
        f"ALTER TABLE {table} SET (fillfactor = 20, autovacuum_vacuum_threshold = 500, "
        "autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_cost_delay = 0)"
        for table in ("forebay_meta", "forebay_partition", "forebay_claim", "forebay_member")
    ),
    "ALTER TABLE forebay_claim SET (toast.autovacuum_vacuum_threshold = 500, "
    "toast.autovacuum_vacuum_scale_factor = 0, toast.autovacuum_vacuum_cost_delay = 0)",
    "ALTER TABLE forebay_record SET (autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_scale_factor = 0.02, "
    "autovacuum_vacuum_cost_delay = 0, autovacuum_vacuum_insert_scale_factor = 0.05, "
    "toast.autovacuum_vacuum_threshold = 5000, toast.autovacuum_vacuum_scale_factor = 0.02, "
    "toast.autovacuum_vacuum_cost_delay = 0)",
)

#: Also of a standby.
READ_ONLY = "SHOW transaction_read_only"
