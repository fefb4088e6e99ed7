"""The scripts that keep a Redis group for each of ours, so that Redis's own tools show what is true.

Leases say who may read, and the offset of the last commit says where. The Redis group follows: an entry that was
handed out is pending in it, in the name of who has it, until a commit has passed it. Whatever was done to the group by
hand, or by a Forebay that knew nothing of it, what comes out are the records of the log, from the reader's place on.
"""

from .script_parts import CHECKED, FREES, LEASES, NOW

_GROUPS = """
local function id(offset) return string.format('%d-0', offset) end

local function place(entry_id) return tonumber(string.match(entry_id, '^%d+')) end

local function named(answer)
    local fields = {}
    for at = 1, #answer, 2 do fields[answer[at]] = answer[at + 1] end
    return fields
end

-- How many entries came before the offset: Redis counts a group's lag from it, and can't find it out in the middle of a
-- log. Where numbers were left out within the log it stays unknown until the group has come to the end.
local function read_before(log, offset)
    local about = named(redis.call('XINFO', 'STREAM', log))
    local first, last = place(about['recorded-first-entry-id']), place(about['last-generated-id'])
    local waiting
    if about.length == 0 or offset > last then waiting = 0
    elseif offset <= first then waiting = about.length
    elseif last - first + 1 == about.length then waiting = last + 1 - offset end
    return waiting and about['entries-added'] - waiting
end

local function about_group(log, group)
    for _, answer in ipairs(redis.pcall('XINFO', 'GROUPS', log)) do
        local found = named(answer)
        if found.name == group then return found end
    end
end

local function go_on_from(log, group, offset)
    local read = read_before(log, offset)
    redis.call('XGROUP', 'SETID', log, group, id(offset), 'ENTRIESREAD', string.format('%d', read or -1))
end

local function make(log, group, offset)
    redis.call('XGROUP', 'CREATE', log, group, '0', 'MKSTREAM')
    go_on_from(log, group, offset)
end
"""

#: about leases log… → id group me, most bytes, then partition, offset and most records of each log. The next entries of
#: each, where we have the lease and while there is room: first those that were handed out before and not committed,
#: whoever had them, since now they are ours. Each log has an equal part of the room that is left.
#: Entries of which the number does not follow may have others before them that Redis would not hand out.
#: All logs in one script: what is handed out is a write, for which the server waits for the disk each time.
DELIVER = (
    FREES
    + CHECKED
    + NOW
    + LEASES
    + _GROUPS
    + """
local group, me, room = ARGV[2], ARGV[3], tonumber(ARGV[4])

local function is_ours(partition)
    local _, till, owner = lease_of(KEYS[2], partition)
    return owner == me and till > now
end

local function taken_over(log, at, wanted)
    local answer = redis.pcall('XAUTOCLAIM', log, group, me, 0, id(at), 'COUNT', wanted)
    if not answer.err then return answer[2] end
    if not string.find(answer.err, 'NOGROUP', 1, true) then error(answer) end
    make(log, group, at)
    return {}
end

local function new(log, wanted)
    local answer = redis.call('XREADGROUP', 'GROUP', group, me, 'COUNT', wanted, 'STREAMS', log, '>')
    return answer and answer[1][2] or {}
end

local function is_next(log, at, entry)
    if entry and place(entry[1]) == at then return true end
    local there = redis.call('XRANGE', log, id(at), '+', 'COUNT', 1)[1]
    return (there and there[1]) == (entry and entry[1])
end

local function handed_out(log, at, most, limit)
    local found, bytes, is_pending = {}, 0, true
    while #found < most do
        local wanted = math.min(16, most - #found)
        local entries = is_pending and taken_over(log, at, wanted) or {}
        if #entries == 0 then is_pending, entries = false, new(log, wanted) end
        if not is_next(log, at, entries[1]) then
            go_on_from(log, group, at)
            entries = new(log, wanted)
        end
        for index, entry in ipairs(entries) do
            if index > 1 and not is_next(log, at, entry) then break end
            local size = #entry[2][6] + #entry[2][8]
            if bytes + size > limit and #found > 0 then return found, bytes end
            found[#found + 1], bytes, at = entry, bytes + size, place(entry[1]) + 1
        end
        if #entries == 0 or not is_pending and #entries < wanted then break end
    end
    return found, bytes
end

-- What XREADGROUP counts as read, it tells neither replicas nor the append-only file: said so, they know it too.
local function tell_read(log)
    local about = about_group(log, group)
    if about and about['entries-read'] then
        local last, read = about['last-delivered-id'], string.format('%d', about['entries-read'])
        redis.call('XGROUP', 'SETID', log, group, last, 'ENTRIESREAD', read)
    end
end

local answer = {}
for index = 3, #KEYS do
    local partition, at, most = unpack(ARGV, 3 * index - 4, 3 * index - 2)
    local found, bytes = false, 0
    if room > 0 and is_ours(partition) then
        local part = room / (#KEYS - index + 1)
        found, bytes = handed_out(KEYS[index], tonumber(at), tonumber(most), part)
        tell_read(KEYS[index])
    end
    answer[index - 2], room = found, room - bytes
end
return {'done', answer}
"""
)

#: about leases offsets log… → id group most, then the partitions of the logs. How many more it could have acknowledged.
#: The group is made where there is none, and goes on from the commit where it is behind it; what was committed is
#: pending no more, and a consumer that has nothing, and not the lease, is forgotten.
SETTLE = (
    FREES
    + CHECKED
    + LEASES
    + _GROUPS
    + """
local group, left = ARGV[2], tonumber(ARGV[3])

local function has(log, from, offset) return redis.call('XRANGE', log, from, id(offset), 'COUNT', 1)[1] end

local function reach(log, offset)
    local found = about_group(log, group)
    if not found then return make(log, group, offset) end
    local last = found['last-delivered-id']
    local following = string.match(last, '%-0$') and place(last) or place(last) + 1
    -- What was deleted was read, too; where numbers alone were left out, there is nothing to pass over.
    if following < offset and (has(log, '(' .. last, offset) or not has(log, '-', offset)) then
        go_on_from(log, group, offset)
    end
end

local function acknowledge(log, offset)
    local ids = {}
    for at, entry in ipairs(left > 0 and redis.call('XPENDING', log, group, '-', id(offset), left) or {}) do
        ids[at] = entry[1]
    end
    if #ids > 0 then redis.call('XACK', log, group, unpack(ids)) end
    left = left - #ids
end

local function forget(log, owner)
    for _, answer in ipairs(redis.call('XINFO', 'CONSUMERS', log, group)) do
        local consumer = named(answer)
        if consumer.pending == 0 and consumer.name ~= owner then
            redis.call('XGROUP', 'DELCONSUMER', log, group, consumer.name)
        end
    end
end

for index = 4, #ARGV do
    local partition, log = ARGV[index], KEYS[index]
    local offset = tonumber(redis.call('HGET', KEYS[3], partition .. ':' .. group) or 0)
    reach(log, offset)
    acknowledge(log, offset)
    local _, _, owner = lease_of(KEYS[2], partition)
    forget(log, owner)
end
return {'done', left}
"""
)
