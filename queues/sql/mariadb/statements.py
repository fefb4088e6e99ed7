"""What is asked of MariaDB. No text is ever put into a statement: bytes go in as hexadecimal digits."""

# The index is named: where the optimizer chose to go through the whole table, it would wait for others' rows too, and
# two who do so for each other.
ENDS = """
SELECT stream, `partition`, next_offset FROM forebay_partition FORCE INDEX (PRIMARY)
WHERE stream = %s AND `partition` IN %s ORDER BY `partition`
"""

# The rows are locked in one order, by all, and until the transaction ends: whoever comes next counts on from what is
# committed by then, and no offset becomes visible before a smaller one.
LOCK = f"{ENDS} FOR UPDATE"

TAKE = """
UPDATE forebay_partition FORCE INDEX (PRIMARY) SET next_offset = next_offset + CASE `partition` {} ELSE 0 END
WHERE stream = %s AND `partition` IN %s
"""

APPEND = "INSERT INTO forebay_record (stream, `partition`, `offset`, timestamp_ms, `key`, headers, value) VALUES "

# How far one may read within so many bytes. A statement of its own: together with the values the server would copy all
# of them into a temporary table on its disk.
REACH = """
SELECT MAX(`offset`) FROM (
    SELECT `offset`, SUM(size) OVER (ORDER BY `offset`) - size AS bytes_before FROM (
        SELECT `offset`, LENGTH(value) AS size FROM forebay_record
        WHERE stream = %s AND `partition` = %s AND `offset` >= %s ORDER BY `offset` LIMIT %s
    ) AS sized
) AS summed WHERE bytes_before < %s
"""

READ = """
SELECT `offset`, timestamp_ms, `key`, headers, value FROM forebay_record
WHERE stream = %s AND `partition` = %s AND `offset` BETWEEN %s AND %s ORDER BY `offset`
"""

FACTS = """
SELECT `offset`, `key`, value FROM forebay_portal WHERE stream = %s AND `offset` >= %s ORDER BY `offset` LIMIT %s
"""

#: Not empty where what this session last changed went into the binary log, which may leave databases out.
LOGGED = "SELECT @@last_gtid"

#: Returns when the server's log is on its disk, up to here at least: a COMMIT that changes nothing would not wait.
SETTLE = "UPDATE forebay_meta SET value = value + 1 WHERE name = 'checks'"

#: Of the server, since the members of a group are on many machines.
NOW_MS = "SELECT CAST(UNIX_TIMESTAMP(SYSDATE(3)) * 1000 AS INTEGER)"

# Turns: a row for each name, locked alone or beside others. A lock of the session beside it, for turns that are taken
# before there are tables, and outlast the COMMIT that comes with making one.
TURN_ALONE = "SELECT @@read_only FROM forebay_meta WHERE name = %s FOR UPDATE"
TURN_BESIDE = "SELECT @@read_only FROM forebay_meta WHERE name = %s LOCK IN SHARE MODE"
MAKE_TURN = "INSERT IGNORE INTO forebay_meta (name, value) VALUES (%s, 0)"
# Who has this one, and then says nothing for so long, is thrown out: a lock of a session has no other end.
HURRY = "SET SESSION wait_timeout = %s"
REST = "SET SESSION wait_timeout = DEFAULT"
ENTER = "SELECT GET_LOCK(CONCAT(LEFT(MD5(DATABASE()), 16), %s), %s)"
LEAVE = "DO RELEASE_LOCK(CONCAT(LEFT(MD5(DATABASE()), 16), %s))"

#: What the server is, and what it keeps.
SERVER = "SELECT @@log_bin, @@sync_binlog, @@innodb_flush_log_at_trx_commit, @@max_allowed_packet, @@read_only"

READ_ONLY = "SELECT @@read_only"
