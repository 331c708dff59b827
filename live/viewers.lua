#!lua flags=no-writes
-- How many watch each of some contents at one moment. Names: storage/redis/key.py.
--
-- KEYS  1 registration · 2 live
-- ARGV  1 the moment (epoch s) as the exclusive lower bound of a lease's end · 2… contents
-- Answer: the registration, nothing when there is none; then a number for each content, in their order.
--
-- A script, because a client takes ten times as long for a command each. Of a content that has a sample (sample.lua)
-- those of each level count 2^level.

local call = redis.call
local tag = string.match(KEYS[1], '^{.-}:')

local function sampled(key, record)
  local _, bits = struct.unpack('<BI4', record)
  local viewers, level = 0, 0
  while bits > 0 do
    if bits % 2 == 1 then
      local set = level == 0 and key or key .. ':' .. level
      viewers = viewers + call('ZCOUNT', set, ARGV[1], '+inf') * 2 ^ level
    end
    bits, level = math.floor(bits / 2), level + 1
  end
  return viewers
end

local answer = {call('GET', KEYS[1])}
if answer[1] then
  local has_samples = call('EXISTS', tag .. 'samples') == 1
  for i = 2, #ARGV do
    local key = tag .. 'viewers:' .. ARGV[i]
    local record = has_samples and call('HGET', tag .. 'samples', ARGV[i])
    answer[i] = record and sampled(key, record) or call('ZCOUNT', key, ARGV[1], '+inf')
  end
end
return answer
