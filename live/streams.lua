
-- What some profiles watch at one moment. Names: storage/redis/key.py. session.lua is in front of this text (streams.py).
--
-- KEYS  1 registration
-- ARGV  1 the moment (us since 1970) · 2 lease_us · 3… profiles (16 bytes)
-- Answer: the registration, nothing when there is none; then of each stream session, profile, content (16 bytes each),
--         since and until (us).

local call = redis.call
local tag = string.match(KEYS[1], '^{.-}:')
local now_us, lease_us = tonumber(ARGV[1]), tonumber(ARGV[2])

local answer = {call('GET', KEYS[1])}
if not answer[1] then return answer end
for i = 3, #ARGV do
  for _, session in ipairs(call('ZRANGE', tag .. 'streams:' .. ARGV[i], 0, -1)) do
    local state = known_session(call('GET', tag .. 'session:' .. session))
    if state.owner then
      local profile, since_us = unpacked(OWNER, state.owner)
      local content, until_us = seat(state, lease_us)
      if profile == ARGV[i] and content and until_us > now_us then -- it may have gone to another profile since
        answer[#answer + 1] = {session, profile, content, string.format('%.0f', since_us), string.format('%.0f', until_us)}
      end
    end
  end
end
return answer
