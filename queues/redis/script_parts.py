"""What scripts begin with: what the server looks at before it lets one run, and what many of them ask first."""

WRITES = "#!lua"
FREES = "#!lua flags=allow-oom"
READS = "#!lua flags=no-writes"

NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""

LIFE = """
local life = assert(string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)'), 'INFO has no master_replid')
"""

#: Nothing is done to a stream that is not the one that the caller knows.
CHECKED = """
if redis.call('HGET', KEYS[1], 'id') ~= ARGV[1] then return {'another'} end
"""
