-- Dead letters in the order of their sequences.
--
-- KEYS  the dead letters, their order
-- ARGV  the sequence behind which they begin, how many at most
-- Gives the letters.

local found = redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. ARGV[1], '+inf', 'LIMIT', 0, ARGV[2])
if #found == 0 then
    return {}
end
return redis.call('HMGET', KEYS[1], unpack(found))
