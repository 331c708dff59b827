#!lua flags=no-writes
-- How many watch each of some contents at one moment. Names: storage/redis/key.py.
--
-- KEYS  1 registration · 2 live
-- ARGV  1 the moment (epoch s) as the exclusive lower bound of a lease's end · 2… contents
-- Answer: the registration, nothing when there is none; then a number for each content, in their order.
--
-- A script, because a client takes ten times as long for a command each.

local prefix = string.match(KEYS[1], '^{.-}:') .. 'viewers:'
local answer = {redis.call('GET', KEYS[1])}
if answer[1] then
  for i = 2, #ARGV do answer[i] = redis.call('ZCOUNT', prefix .. ARGV[i], ARGV[1], '+inf') end
end
return answer
