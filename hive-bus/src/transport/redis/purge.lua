-- Removes dead letters.
--
-- KEYS  the dead letters, their order, the answer to this call
-- ARGV  for how many milliseconds the answer is kept; the sequences
-- Gives how many there were.

local dead, order, answer = unpack(KEYS)
local given = redis.call('GET', answer)
if given then
    return tonumber(given)
end
local count = 0
for i = 2, #ARGV do
    count = count + redis.call('HDEL', dead, ARGV[i])
    redis.call('ZREM', order, ARGV[i])
end
redis.call('SET', answer, count, 'PX', ARGV[1])
return count
