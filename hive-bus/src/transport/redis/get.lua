-- Events by their sequences, those that there are.
--
-- KEYS  the events
-- ARGV  the sequences
-- Gives three for each: the sequence, the event's id, its text.

local events = KEYS[1]
local fields, first, last = nil, 0, 0
local answer = {}
for _, sequence in ipairs(ARGV) do
    local wanted = tonumber(sequence)
    if not fields or wanted < first or wanted > last then
        local found = redis.call('XRANGE', events, sequence .. '-0', '+', 'COUNT', 1)[1]
        if found then
            fields = found[2]
            last = tonumber(string.match(found[1], '^%d+'))
            first = last - #fields / 2 + 1
        end
    end
    if fields and wanted >= first and wanted <= last then
        local at = (wanted - first) * 2
        answer[#answer + 1] = sequence
        answer[#answer + 1] = fields[at + 1]
        answer[#answer + 1] = fields[at + 2]
    end
end
return answer
