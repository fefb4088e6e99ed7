"""The steps that must be atomic: a script runs alone, and its changes come to the disk together.

Redis undoes nothing of a script that fails, but looks, before it lets one begin that says `#!lua`, for all that makes a
change fail: no memory, a disk that is full, a replica. What frees memory in the end goes on without any (`allow-oom`):
commits, heartbeats and deleting.

A life is what acknowledged writes survive in: when the server comes back as another life, its last writes may be gone.
Then offsets go on a leap further, since nobody knows which ones were given out: to where no life before can have been,
by the server's clock, as one may have leapt from here before. And for the time of a session nobody gets a partition
that is free, since nobody knows whose it was. The server's replication id is its life: a server gets
one at random when it starts and when it takes over from another, and never one that it had. It gets one without a loss,
too, while it runs, when its first replica comes and long after its last one went: so each script asks for it. What a
connection knows of it may be old, and two that know different ones would leap at every step.
"""

from ..groups.leaps import FARTHEST_MS
from .script_parts import CHECKED, FREES, LEASES, LIFE, NOW, READS, WRITES

#: More than a server takes between its last write to the disk and its end.
LEAP = 1_000_000

#: More than it takes in a millisecond: each life begins so many further for each one since the epoch.
#: A leap is a multiple of it.
STEP = 1_000

#: about ends log… → id partitions version, if it is not there. 1 when it was made.
#: Where somebody has deleted no more than that it goes on behind what is there: an offset that was given to an entry
#: would be refused to another for ever.
MAKE = (
    WRITES
    + LIFE
    + """
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('HSET', KEYS[1], 'id', ARGV[1], 'partitions', ARGV[2], 'version', ARGV[3], 'life', life)
for partition = 0, ARGV[2] - 1 do
    local following = tonumber(redis.call('HGET', KEYS[2], partition) or 0)
    local last = redis.call('XREVRANGE', KEYS[3 + partition], '+', '-', 'COUNT', 1)[1]
    if last then following = math.max(following, string.match(last[1], '^%d+') + 1) end
    redis.call('HSET', KEYS[2], partition, string.format('%d', following), 'life:' .. partition, life)
end
return 1
"""
)

#: about ends producer log… → id number ttl_ms channel, then partitions and their counts as a JSON,
#: then partition key timestamp headers value for each record. The first offset in each partition.
#: A batch that was written already is not written again; one that was given up since, never.
#: It is announced first: nobody hears of it before the script ends, and a user whom the channel is closed to is refused
#: before anything was changed.
APPEND = (
    WRITES
    + CHECKED
    + NOW
    + LIFE
    + f"\nlocal leap, step = {LEAP}, {STEP}\n"
    + """
local last = tonumber(redis.call('HGET', KEYS[3], 'number') or -1)
if last >= tonumber(ARGV[2]) then
    redis.call('PEXPIRE', KEYS[3], ARGV[3])
    return {last == tonumber(ARGV[2]) and 'kept' or 'late', redis.call('HGET', KEYS[3], 'firsts') or ''}
end
local parts, told = cjson.decode(ARGV[5]), {}
for index, pair in ipairs(parts) do told[index] = tostring(pair[1]) end
redis.call('PUBLISH', ARGV[4], table.concat(told, ' '))
local following, firsts, logs = {}, {}, {}
for index, pair in ipairs(parts) do
    local partition, count = told[index], pair[2]
    local skipped = 0
    if redis.call('HGET', KEYS[2], 'life:' .. partition) ~= life then
        local steps = math.floor((redis.call('HGET', KEYS[2], partition) or 0) / step)
        skipped = math.max(leap, step * (now - steps))
    end
    local ending = redis.call('HINCRBY', KEYS[2], partition, skipped + count)
    if skipped > 0 then redis.call('HSET', KEYS[2], 'life:' .. partition, life) end
    following[partition], logs[partition] = ending - count, KEYS[3 + index]
    firsts[index] = string.format('%d:%d', pair[1], ending - count)
end
for at = 6, #ARGV, 5 do
    local partition = ARGV[at]
    redis.call('XADD', logs[partition], string.format('%d-1', following[partition]),
        'key', ARGV[at + 1], 'time', ARGV[at + 2], 'headers', ARGV[at + 3], 'value', ARGV[at + 4])
    following[partition] = following[partition] + 1
end
local answer = table.concat(firsts, ' ')
redis.call('HSET', KEYS[3], 'number', ARGV[2], 'firsts', answer)
redis.call('PEXPIRE', KEYS[3], ARGV[3])
return {'kept', answer}
"""
)

#: producer → number ttl_ms. The first offsets of the batch of this number; when it was not kept there are none, and it
#: never will be, even if it is still on its way.
DECIDE = (
    FREES
    + """
local last = tonumber(redis.call('HGET', KEYS[1], 'number') or -1)
if last < tonumber(ARGV[1]) then
    redis.call('HSET', KEYS[1], 'number', ARGV[1])
    redis.call('HDEL', KEYS[1], 'firsts')
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return redis.call('HGET', KEYS[1], 'firsts') or ''
"""
)

#: log → id from which on, most records, most bytes. The entries.
READ = (
    READS
    + """
local found, bytes, at = {}, 0, ARGV[1]
local most, limit = tonumber(ARGV[2]), tonumber(ARGV[3])
while #found < most do
    local wanted = math.min(16, most - #found)
    local entries = redis.call('XRANGE', KEYS[1], at, '+', 'COUNT', wanted)
    for _, entry in ipairs(entries) do
        bytes = bytes + #entry[2][6] + #entry[2][8]
        if bytes > limit and #found > 0 then return found end
        found[#found + 1] = entry
        at = '(' .. entry[1]
    end
    if #entries < wanted then break end
end
return found
"""
)

#: about members leases → id. Now, the living members, all leases.
VIEW = (
    READS
    + CHECKED
    + NOW
    + """
return {'seen', now, redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. now, '+inf'), redis.call('HGETALL', KEYS[3])}
"""
)

#: leases offsets notes → group. Now; partition, lease, offset and note of each partition that the group has ever had.
STATES = (
    READS
    + NOW
    + """
local states, known = {}, redis.call('HGETALL', KEYS[1])
for at = 1, #known, 2 do
    if string.match(known[at], '^%d+$') then
        local field = known[at] .. ':' .. ARGV[1]
        states[#states + 1] = {known[at], known[at + 1], redis.call('HGET', KEYS[2], field) or '0',
            redis.call('HGET', KEYS[3], field) or ''}
    end
end
return {now, states}
"""
)

#: about members leases groups offsets → id group me session_ms, then partition and epoch of each that is held.
#: Of these that are still ours, partition and offset of each. What lies too far ahead was written before the server's
#: clock was set back: it holds for a session, as all else.
BEAT = (
    FREES
    + CHECKED
    + NOW
    + LIFE
    + LEASES
    + f"\nlocal farthest_ms = {FARTHEST_MS}\n"
    + """
local ending = string.format('%d', now + ARGV[4])
local farthest = string.format('%d', now + math.max(farthest_ms, 2 * ARGV[4]))
local known = redis.call('HGETALL', KEYS[3])
for at = 1, #known, 2 do
    local epoch, till, owner = parsed(known[at + 1])
    if till and till > tonumber(farthest) then
        lease(KEYS[3], known[at], epoch, ending, owner)
    elseif known[at] == 'quiet' and tonumber(known[at + 1]) > tonumber(farthest) then
        redis.call('HSET', KEYS[3], 'quiet', ending)
    end
end
for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. farthest, '+inf')) do
    redis.call('ZADD', KEYS[2], ending, member)
end
local before = redis.call('HGET', KEYS[3], 'life') or redis.call('HGET', KEYS[1], 'life')
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
redis.call('ZADD', KEYS[2], ending, ARGV[3])
redis.call('SADD', KEYS[4], ARGV[2])
if before ~= life then
    redis.call('HSET', KEYS[3], 'life', life, 'quiet', ending)
end
local still = {}
for at = 5, #ARGV, 2 do
    local epoch, _, owner = lease_of(KEYS[3], ARGV[at])
    if epoch == ARGV[at + 1] and owner == ARGV[3] then
        lease(KEYS[3], ARGV[at], epoch, ending, owner)
        still[#still + 1] = ARGV[at]
        still[#still + 1] = redis.call('HGET', KEYS[5], ARGV[at] .. ':' .. ARGV[2]) or '0'
    end
end
return {'done', still}
"""
)

#: about leases starts offsets notes → id group me session_ms, then each partition, and the last epoch under which the
#: member had it: none comes twice.
#: Partition, epoch, offset, note and whether the group is new there, of each that became ours; what another was quicker
#: to take is left out.
CLAIM = (
    FREES
    + CHECKED
    + NOW
    + LEASES
    + """
local ending = string.format('%d', now + ARGV[4])
local claimed = {}
if now < tonumber(redis.call('HGET', KEYS[2], 'quiet') or 0) then return {'done', claimed} end
for at = 5, #ARGV, 2 do
    local partition, field = ARGV[at], ARGV[at] .. ':' .. ARGV[2]
    local epoch, till, owner = lease_of(KEYS[2], partition)
    if owner == ARGV[3] or till <= now then
        epoch = string.format('%d', math.max(epoch, ARGV[at + 1]) + 1)
        lease(KEYS[2], partition, epoch, ending, ARGV[3])
        local is_new = redis.call('HSETNX', KEYS[4], field, redis.call('HGET', KEYS[3], partition) or '0')
        claimed[#claimed + 1] = {partition, epoch, redis.call('HGET', KEYS[4], field),
            redis.call('HGET', KEYS[5], field) or '', is_new}
    end
end
return {'done', claimed}
"""
)

#: about leases offsets notes → id group me, then partition, epoch, offset and note of each, and the least offset that
#: is there unless it was set back. Those that were stored.
COMMIT = (
    FREES
    + CHECKED
    + LEASES
    + """
local stored = {}
for at = 4, #ARGV, 5 do
    local epoch, _, owner = lease_of(KEYS[2], ARGV[at])
    local place = tonumber(redis.call('HGET', KEYS[3], ARGV[at] .. ':' .. ARGV[2]) or 0)
    if epoch == ARGV[at + 1] and owner == ARGV[3] and place >= tonumber(ARGV[at + 4]) then stored[#stored + 1] = at end
end
for index, at in ipairs(stored) do
    local field = ARGV[at] .. ':' .. ARGV[2]
    redis.call('HSET', KEYS[3], field, ARGV[at + 2])
    redis.call('HSET', KEYS[4], field, ARGV[at + 3])
    stored[index] = tonumber(ARGV[at])
end
return {'done', stored}
"""
)

#: leases → me, then partition and epoch of each. They are nobody's now.
RELEASE = (
    FREES
    + LEASES
    + """
for at = 2, #ARGV, 2 do
    local epoch, _, owner = lease_of(KEYS[1], ARGV[at])
    if epoch == ARGV[at + 1] and owner == ARGV[1] then lease(KEYS[1], ARGV[at], epoch, 0, '') end
end
"""
)

#: members leases → me.
LEAVE = (
    FREES
    + LEASES
    + """
redis.call('ZREM', KEYS[1], ARGV[1])
local known = redis.call('HGETALL', KEYS[2])
for at = 1, #known, 2 do
    local epoch, _, owner = parsed(known[at + 1])
    if owner == ARGV[1] then lease(KEYS[2], known[at], epoch, 0, '') end
end
"""
)

#: Only a prefix goes: a late clock may have left a younger record among older ones.
_SWEPT = """
local first, at = nil, '-'
for _ = 1, ARGV[4] do
    local entry = redis.call('XRANGE', KEYS[5], at, '+', 'COUNT', 1)[1]
    if not entry then break end
    local offset = tonumber(string.match(entry[1], '^%d+'))
    if offset >= (needed or 0) or tonumber(entry[2][4]) > now - ARGV[3] then break end
    first, at = offset + 1, '(' .. entry[1]
end
if not first then return {'done', 0} end
redis.call('XTRIM', KEYS[5], 'MINID', '=', string.format('%d-0', first))
redis.call('HSET', KEYS[4], ARGV[2], string.format('%d', first))
return {'done', 1}
"""

#: about groups offsets starts log → id partition keep_ms most. 1 when something was deleted.
SWEEP = (
    FREES
    + CHECKED
    + NOW
    + """
local needed
for _, group in ipairs(redis.call('SMEMBERS', KEYS[2])) do
    local offset = tonumber(redis.call('HGET', KEYS[3], ARGV[2] .. ':' .. group) or 0)
    needed = math.min(needed or offset, offset)
end
"""
    + _SWEPT
)

#: The same, with what is not needed before the offset that comes as the last argument.
TRIM = FREES + CHECKED + NOW + "local needed = tonumber(ARGV[5])" + _SWEPT
