-- Removes a consumer with all that is its own.
--
-- KEYS  the consumer, the names, its dead letters, their order, the changes, the answer to this call
-- ARGV  for how many milliseconds the answer is kept, its name, how many changes are kept
-- Gives whether there was one.

local consumer, names, dead, order, changes, answer = unpack(KEYS)
local given = redis.call('GET', answer)
if given then
    return tonumber(given)
end
local removed = redis.call('UNLINK', consumer)
redis.call('UNLINK', dead, order)
redis.call('ZREM', names, ARGV[2])
redis.call('XADD', changes, 'MAXLEN', '~', ARGV[3], '*', 'consumer', ARGV[2])
redis.call('SET', answer, removed, 'PX', ARGV[1])
return removed
