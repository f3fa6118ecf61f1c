-- Appends events at the end of the log, each once.
--
-- KEYS  the head, the events, the ids
-- ARGV  how many events are kept; how many bytes and events an entry holds; then two for each event: its id and its text
-- Gives 0 and a sequence for each; or 1 and the sequences up to the first event whose id stands for something that looks
-- different, that one's included; or 2 when a relay feeds the log.

local head, events, ids = KEYS[1], KEYS[2], KEYS[3]
local known = redis.call('HMGET', head, 'feed', 'last', 'count', 'run', 'at')
if known[1] and known[1] ~= 'published' then
    return { 2 }
end
local last, count = tonumber(known[2] or 0), tonumber(known[3] or 0)
local run, at = known[4], tonumber(known[5] or 0)

-- A server that was started again, or took another's place, may have lost what came last; somebody may have read it. Numbers
-- are not given twice: it cannot have been more than one a microsecond. A start takes longer than a millisecond, so a log
-- that is busy need not ask.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
if not run or now < at or now - at > 1000 then
    local info = redis.pcall('INFO', 'server')
    local found = type(info) == 'string' and string.match(info, 'run_id:(%w+)') or ''
    if run and run ~= found then
        last = last + math.max(now - at, 0) + 1000000
    end
    run = found
end

local function same(one, other)
    -- Apart from the time, which is the first line.
    local from = string.find(one, '\n', 1, true)
    return string.sub(one, from) == string.sub(other, string.find(other, '\n', 1, true))
end
local entry = {}
local function differs(sequence, id, event)
    for round = 1, 2 do
        for i = 1, #entry, 2 do
            if entry[i] == id then
                return not same(entry[i + 1], event)
            end
        end
        local found = redis.call('XRANGE', events, sequence .. '-0', '+', 'COUNT', 1)[1]
        entry = found and found[2] or {}
    end
    return false
end

local asked = {}
for i = 4, #ARGV, 2 do
    asked[#asked + 1] = ARGV[i]
end
local taken = redis.call('HMGET', ids, unpack(asked))
local here, answer = {}, { 0 }
local sequences, names, texts, index = {}, {}, {}, {}
for number, id in ipairs(asked) do
    local event = ARGV[number * 2 + 3]
    local sequence = taken[number]
    local first = here[id]
    if sequence then
        answer[1] = differs(sequence, id, event) and 1 or 0
        sequence = tonumber(sequence)
    elseif first then
        -- Twice in one batch.
        answer[1] = same(texts[first], event) and 0 or 1
        sequence = sequences[first]
    else
        last = last + 1
        sequence = last
        local new = #sequences + 1
        here[id] = new
        sequences[new], names[new], texts[new] = sequence, id, event
        index[new * 2 - 1], index[new * 2] = id, sequence
    end
    answer[number + 1] = sequence
    if answer[1] == 1 then
        break
    end
end
if #sequences == 0 then
    return answer
end

-- The numbers first: should anything be refused from here on, they are skipped and not given again.
count = trim(events, ids, count + #sequences, tonumber(ARGV[1]))
redis.call('HSET', head, 'feed', 'published', 'last', last, 'count', count, 'run', run, 'at', now)
write(events, sequences, names, texts, tonumber(ARGV[2]), tonumber(ARGV[3]))
redis.call('HSET', ids, unpack(index))
return answer
