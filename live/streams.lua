
-- What some profiles watch at one moment. Names: storage/redis/key.py. session.lua is in front of this text (streams.py).
--
-- KEYS  1 registration
-- ARGV  1 the moment (us since 1970) · 2 leases (packed, storage/redis/entry.py) · 3… profiles (16 bytes)
-- Answer: the registration, nothing when there is none; then of each stream session, profile, content (16 bytes each),
--         since and until, and how long its lease was (us).

local call = redis.call
local tag = string.match(KEYS[1], '^{.-}:')
local now_us, leases = tonumber(ARGV[1]), leases_of(ARGV[2])

local answer = {call('GET', KEYS[1])}
if not answer[1] then return answer end
for i = 3, #ARGV do
  for _, session in ipairs(call('ZRANGE', tag .. 'streams:' .. ARGV[i], 0, -1)) do
    local state = known_session(call('GET', tag .. 'session:' .. session))
    if state.owner then
      local profile, since_us = unpacked(OWNER, state.owner)
      local content, until_us, lease_us = seat(state, leases)
      if profile == ARGV[i] and content and until_us > now_us then -- it may have gone to another profile since
        local times = {string.format('%.0f', since_us), string.format('%.0f', until_us), string.format('%.0f', lease_us)}
        answer[#answer + 1] = {session, profile, content, unpack(times)}
      end
    end
  end
end
return answer
