-- Replaces the state of a consumer if it has the expected revision.
--
-- KEYS  the consumer, the names, its dead letters, their order, the changes
-- ARGV  its name, the expected revision or '', what tells this call from every other, the state, whether somebody is to be
--       woken, how many changes are kept, how many letters are dead from now on; then two for each: its sequence and the letter;
--       then the sequences of those that are no longer
-- Gives the new revision, or nothing.

local consumer, names, dead, order, changes = unpack(KEYS)
local name, expected, call, state, wake, kept, letters = unpack(ARGV, 1, 7)
local known = redis.call('HMGET', consumer, 'revision', 'call')
if known[2] == call then
    -- Done before; the answer was lost.
    return { known[1] }
end
if (known[1] or '') ~= expected then
    return {}
end
-- The time is in it, so that a revision which the server has lost is not given to another state.
local time = redis.call('TIME')
local revision = math.max(time[1] * 1000000 + time[2], tonumber(known[1] or 0) + 1)
local text = string.format('%.0f', revision)
redis.call('HSET', consumer, 'revision', text, 'call', call, 'state', state)
redis.call('ZADD', names, 0, name)
local after = 8 + 2 * letters
for i = 8, after - 1, 2 do
    redis.call('HSET', dead, ARGV[i], ARGV[i + 1])
    redis.call('ZADD', order, ARGV[i], ARGV[i])
end
for i = after, #ARGV do
    redis.call('HDEL', dead, ARGV[i])
    redis.call('ZREM', order, ARGV[i])
end
if wake == '1' then
    redis.call('XADD', changes, 'MAXLEN', '~', kept, '*', 'consumer', name)
end
return { text }
