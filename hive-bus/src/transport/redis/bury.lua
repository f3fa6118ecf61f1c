-- Writes dead letters that are too many for one change of a consumer's state, before it.
--
-- KEYS  the consumer, its dead letters, their order
-- ARGV  the expected revision or ''; then two for each letter: its sequence and the letter
-- Gives whether the consumer has that revision; if not, nothing is written.

local consumer, dead, order = unpack(KEYS)
if (redis.call('HGET', consumer, 'revision') or '') ~= ARGV[1] then
    return 0
end
for i = 2, #ARGV, 2 do
    redis.call('HSET', dead, ARGV[i], ARGV[i + 1])
    redis.call('ZADD', order, ARGV[i], ARGV[i])
end
return 1
