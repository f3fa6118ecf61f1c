-- What publish.lua and relay.lua begin with.
--
-- An entry `<sequence>-<count>` of the log holds so many events whose sequences follow one another and end with this one: for
-- each its id, and a text of three parts with line feeds between them, its time, its attributes and its data.

local function text(number)
    return string.format('%.0f', number)
end

-- Writes events, given as lists of their sequences, ids and texts. An entry takes no more when it has so many bytes or events.
local function write(events, sequences, names, texts, bytes_max, events_max)
    local from, count = 1, #sequences
    while from <= count do
        local to, bytes = from, #texts[from]
        local fields = { names[from], texts[from] }
        while to < count and sequences[to + 1] == sequences[to] + 1 and bytes < bytes_max and to - from + 1 < events_max do
            to = to + 1
            bytes = bytes + #texts[to]
            fields[#fields + 1] = names[to]
            fields[#fields + 1] = texts[to]
        end
        redis.call('XADD', events, text(sequences[to]) .. '-' .. to - from + 1, unpack(fields))
        from = to + 1
    end
end

-- Takes the oldest of so many events away, as long as `kept` are left; some at a time. Gives how many there are then. An id
-- is known for as long as its event is there.
local function trim(events, ids, count, kept)
    local most = count - 1000
    while count > kept and count > most do
        local oldest = redis.call('XRANGE', events, '-', '+', 'COUNT', 1)[1]
        local held = oldest and #oldest[2] / 2 or 0
        if not oldest or count - held < kept then
            break
        end
        redis.call('XDEL', events, oldest[1])
        local gone = {}
        for i = 1, #oldest[2], 2 do
            gone[#gone + 1] = oldest[2][i]
        end
        redis.call('HDEL', ids, unpack(gone))
        count = count - held
    end
    return count
end
