-- Appends events that have their sequences already, those that are not there.
--
-- KEYS  the head, the events, the ids
-- ARGV  how many events are kept; how many bytes and events an entry holds; up to which sequence the caller has seen the log;
--       then three for each event, in the order of their sequences: its sequence, its id, its text
-- Gives 0 and where the log ends; or 1 and where it ends when that is before what the caller has seen; or 2 when publishers
-- feed the log.

local head, events, ids = KEYS[1], KEYS[2], KEYS[3]
local known = redis.call('HMGET', head, 'feed', 'last', 'count')
if known[1] and known[1] ~= 'relayed' then
    return { 2 }
end
local last = tonumber(known[2] or 0)
if last < tonumber(ARGV[4]) then
    return { 1, last }
end
local sequences, names, texts, index = {}, {}, {}, {}
for i = 5, #ARGV, 3 do
    local sequence = tonumber(ARGV[i])
    if sequence > last then
        local new = #sequences + 1
        sequences[new], names[new], texts[new] = sequence, ARGV[i + 1], ARGV[i + 2]
        index[new * 2 - 1], index[new * 2] = ARGV[i + 1], sequence
        last = sequence
    end
end
if #sequences > 0 then
    local count = trim(events, ids, tonumber(known[3] or 0) + #sequences, tonumber(ARGV[1]))
    redis.call('HSET', head, 'feed', 'relayed', 'last', last, 'count', count)
    write(events, sequences, names, texts, tonumber(ARGV[2]), tonumber(ARGV[3]))
    redis.call('HSET', ids, unpack(index))
end
return { 0, last }
