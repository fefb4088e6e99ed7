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

#: A lease is text: its epoch, until when, whose. Where none was ever taken it is nobody's, of epoch 0; what is no lease
#: has none of the three.
LEASES = """
local function parsed(lease)
    local epoch, till, owner = string.match(lease or '0 0 ', '^(%d+) (%d+) (.*)$')
    return epoch, tonumber(till), owner
end

local function lease_of(leases, partition) return parsed(redis.call('HGET', leases, partition)) end

local function lease(leases, partition, epoch, till, owner)
    redis.call('HSET', leases, partition, epoch .. ' ' .. till .. ' ' .. owner)
end
"""

#: Nothing is done to a stream that is not the one that the caller knows.
CHECKED = """
if redis.call('HGET', KEYS[1], 'id') ~= ARGV[1] then return {'another'} end
"""
