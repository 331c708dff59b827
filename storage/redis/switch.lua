#!lua
-- What a rebuild has counted takes the place of the counts in force, all or nothing. Names: key.py.
--
-- KEYS  1 registration · 2 positions · 3 totals · 4 live · 5 registration of the rebuild · 6 its totals
-- ARGV  1 what 5 has to be · 2 plays that were handed in · 3 rows and 4 signals below the positions
--       5 first and 6 last hour of which views may be kept · 7… incarnation, position, …
-- Answer: {1, views}; when nothing was done {0, why}, or {-1}: another rebuild began, or the counters were lost.
--
-- Views themselves are not touched, there are millions: those of the rebuild are read from now on because the new
-- registration says so, those of before are swept away later. Everything is checked before the first write.

local call = redis.call
local tag = string.match(KEYS[1], '^{.-}:')

if call('GET', KEYS[5]) ~= ARGV[1] then return {-1} end
local plays = tonumber(call('HGET', KEYS[6], 'rows') or 0)
if plays ~= tonumber(ARGV[2]) then
  return {0, string.format('of %s plays handed in %.0f are there: Redis has lost what was written last', ARGV[2], plays)}
end
local views = call('HGET', KEYS[6], 'views') or '0'

---- from here on nothing can fail

call('UNLINK', KEYS[2], KEYS[3], KEYS[6])
for first = 7, #ARGV, 1000 do
  call('HSET', KEYS[2], unpack(ARGV, first, math.min(first + 999, #ARGV)))
end
for name, value in pairs({rows = ARGV[3], signals = ARGV[4], views = views}) do
  if value ~= '0' then call('HSET', KEYS[3], name, value) end
end
for hour = tonumber(ARGV[5]), tonumber(ARGV[6]) do
  local from, to = string.format('%srebuild:views:%d', tag, hour), string.format('%sviews:%d', tag, hour)
  call('UNLINK', to)
  if call('EXISTS', from) == 1 then call('RENAME', from, to) end
end
for key, ours in pairs({[KEYS[4]] = 'zset', [tag .. 'samples'] = 'hash'}) do
  local kind = call('TYPE', key)['ok']
  if kind ~= ours and kind ~= 'none' then call('UNLINK', key) end
end
call('UNLINK', KEYS[1])
call('RENAME', KEYS[5], KEYS[1])
call('PERSIST', KEYS[1])
return {1, tonumber(views)}
