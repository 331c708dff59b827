-- Positions and their effects, all or nothing. What is kept under which key: key.py; what the entries mean: sign.py.
--
-- KEYS  1 registration · 2 positions · 3 totals · 4 live; of a rebuild 1 and 3 are its own: it counts views with this
--       script, beside those in force
-- ARGV  1 registration as this reader opened it · 2 now_us · 3 lease_us · 4 memory_ms of a session · 5 memory_s of a view
--       6 positions · 7 views · 8 sessions (packed, entry.py) · 9 rows · 10 signals · 11 tests
--       12 viewers of a content up to which each is kept · 13 whether streams are limited (1 or 0)
-- Answer: {1, views moved, sessions moved}; when nothing was done {0, why}: it is not where this reader left it,
--         {-1, why}: there is a key that is not of our making, or {-2, why}: it was lost or rebuilt.
--
-- Everything is read and checked before the first write, since Redis takes no write of a script back. command.lua,
-- session.lua, sample.lua and owner.lua are in front of this text (counters.py).

local HOUR_US, VIEWS_KEPT_HOURS = 3600 * 1000000, 31 * 24
local MANY = 16 -- seated by one call; where they are fewer, it is soon enough to count the set once a second

local tag = string.match(KEYS[1], '^{.-}:')
local view_prefix = tag .. 'view' .. (string.match(ARGV[1], ':.+$') or '') .. ':'
local views_prefix = string.gsub(KEYS[3], 'totals$', 'views:')
local now_us, lease_us, memory_ms = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local exact_max = tonumber(ARGV[12])

local texts = {}
local function uuid_text(raw)
  local text = texts[raw]
  if not text then
    local form = '%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x'
    text = string.format(form, string.byte(raw, 1, 16))
    texts[raw] = text
  end
  return text
end

---- positions

if call('GET', KEYS[1]) ~= ARGV[1] then return {-2, 'the registration is not the one this reader opened'} end
local positions, moved = {}, {}
local at = 1
while at <= #ARGV[6] do
  local incarnation, before, behind
  incarnation, before, behind, at = unpacked('<c32dd', ARGV[6], at)
  local here = moved[incarnation] or tonumber(call('HGET', KEYS[2], incarnation) or 0)
  if here ~= before then
    return {0, string.format('%s stands at %.0f, this reader left it at %.0f', incarnation, here, before)}
  end
  moved[incarnation] = behind
  positions[#positions + 1] = incarnation
  positions[#positions + 1] = string.format('%.0f', behind)
end

---- views: the earliest play decides the hour

local oldest_hour = math.floor(now_us / HOUR_US) - VIEWS_KEPT_HOURS
local view_keys, view_contents, view_hours = {}, {}, {}
at = 1
while at <= #ARGV[7] do
  local session, content, hour
  session, content, hour, at = unpacked('<c16c16i4', ARGV[7], at)
  local n = #view_keys + 1
  view_keys[n], view_contents[n], view_hours[n] = view_prefix .. session .. content, content, hour
end

local deltas = {} -- hour → content → views
local function count(hour, content, views)
  if hour < oldest_hour then return 0 end
  local contents = deltas[hour]
  if not contents then
    contents = {}
    deltas[hour] = contents
  end
  contents[content] = (contents[content] or 0) + views
  return views
end

local markers, views_counted = {}, 0 -- {key, hour, …}
for i, known in ipairs(fetched(view_keys, 'MGET')) do
  local content, hour = view_contents[i], view_hours[i]
  known = known and tonumber(known)
  if not known or hour < known then
    views_counted = views_counted + count(hour, content, 1)
    if known then views_counted = views_counted + count(known, content, -1) end
    markers[#markers + 1] = view_keys[i]
    markers[#markers + 1] = hour
  end
end
local sums, zeros = {}, {} -- hour → {content, views, …}; hour → {content, …}
for hour, contents in pairs(deltas) do
  local key = views_prefix .. hour
  local names, changes = {}, {}
  for content, views in pairs(contents) do
    if views ~= 0 then
      names[#names + 1] = uuid_text(content)
      changes[#names] = views
    end
  end
  local sum, zero = {}, {}
  for i, known in ipairs(fetched(names, 'HMGET', key)) do
    local views = (known and tonumber(known) or 0) + changes[i]
    if views > 0 then
      sum[#sum + 1] = names[i]
      sum[#sum + 1] = views
    else -- or below zero: the hour has expired since
      zero[#zero + 1] = names[i]
    end
  end
  sums[hour], zeros[hour] = sum, zero
end

---- sessions: the newest sign of each kind decides the lease

local sessions, session_order, session_keys = {}, {}, {}
at = 1
while at <= #ARGV[8] do
  local session, mask, ids
  session, mask, ids, at = unpacked('<c16BB', ARGV[8], at)
  local entry = {false, false, false, false}
  for slot = 1, 4 do
    if mask % 2 == 1 then
      entry[slot] = string.sub(ARGV[8], at, at + REGISTER_BYTES - 1)
      at = at + REGISTER_BYTES
    end
    mask = math.floor(mask / 2)
  end
  entry.is_single = mask % 2 == 1
  if mask >= 2 then
    entry.profile = string.sub(ARGV[8], at, at + 15)
    at = at + 16
  end
  entry.ids = string.sub(ARGV[8], at, at + 8 * ids - 1)
  at = at + 8 * ids
  local entries = sessions[session]
  if not entries then
    entries = {}
    sessions[session] = entries
    session_order[#session_order + 1] = session
    session_keys[#session_keys + 1] = tag .. 'session:' .. session
  end
  entries[#entries + 1] = entry
end

local keys, values, seats, unseats, contents = {}, {}, {}, {}, {} -- contents: content → end of the last new lease
local streams = {} -- {profile, session, …}
local function put(list, content, ...)
  local entries = list[content]
  if not entries then
    entries = {}
    list[content] = entries
    contents[content] = contents[content] or 0
  end
  for _, entry in ipairs({...}) do entries[#entries + 1] = entry end
end

for i, value in ipairs(fetched(session_keys, 'MGET')) do
  local session = session_order[i]
  local state, is_moved, profile = known_session(value), false, nil
  for _, entry in ipairs(sessions[session]) do
    local is_seen = false
    for here = 1, #entry.ids, 8 do
      local id = string.sub(entry.ids, here, here + 7)
      is_seen = is_known(id, state.ids)
      if not is_seen then
        state.ids = string.sub(state.ids .. id, -8 * IDS_MAX)
        is_moved = true
      end
    end
    if not (is_seen and entry.is_single) then
      profile = entry.profile or profile
      for slot = 1, 4 do
        if entry[slot] and (not state[slot] or is_newer(entry[slot], state[slot])) then
          state[slot] = entry[slot]
          is_moved = true
        end
      end
    end
  end
  if is_moved then
    local content, until_us = seat(state, lease_us)
    if content and until_us <= now_us then content = nil end
    if state.content and state.content ~= content then
      put(unseats, state.content, session)
    end
    if content then
      put(seats, content, string.format('%.6f', until_us / 1000000), session)
      contents[content] = math.max(contents[content], until_us)
    end
    state.content = content or false
    if content and (profile or state.owner) and owns(state, profile, now_us, memory_ms) then
      streams[#streams + 1] = string.sub(state.owner, 1, 16)
      streams[#streams + 1] = session
    end
    keys[#keys + 1] = session_keys[i]
    values[#values + 1] = packed_session(state)
  end
end
local owners = owners_of(streams, tag)
if #owners > 0 and not is('zset', tag .. 'owners') then return {-1, tag .. 'owners is no sorted set'} end
if not is('hash', KEYS[3]) then return {-1, KEYS[3] .. ' is no hash'} end
local names, touched = {}, {}
for content in pairs(contents) do
  names[#names + 1] = uuid_text(content)
  touched[#touched + 1] = content
end
local ends = fetched(names, 'ZMSCORE', KEYS[4])
local now_s, samples_key, samples = string.format('%.6f', now_us / 1000000), tag .. 'samples', {}
if #names > 0 and call('HLEN', samples_key) > 0 then samples = fetched(names, 'HMGET', samples_key) end
for i, name in ipairs(names) do
  local key = tag .. 'viewers:' .. name
  if samples[i] then
    local sample, foreign = sample_of(key, samples[i], now_s, exact_max)
    if not sample then return {-1, foreign .. ' is no sorted set'} end
    samples[i] = sample
  elseif not ends[i] and not is('zset', key) then
    return {-1, key .. ' is no sorted set'}
  end
end

---- from here on nothing can fail

in_parts(positions, 'HSET', KEYS[2])
for i = 1, #markers, 2 do call('SET', markers[i], markers[i + 1], 'EX', ARGV[5]) end
for hour, sum in pairs(sums) do
  local key = views_prefix .. hour
  in_parts(sum, 'HSET', key)
  in_parts(zeros[hour], 'HDEL', key)
  call('EXPIRE', key, math.ceil((hour + 1 + VIEWS_KEPT_HOURS + 1) * 3600 - now_us / 1000000), 'NX')
end
for i, key in ipairs(keys) do call('SET', key, values[i], 'PX', ARGV[4]) end
note_streams(owners, now_us, memory_ms, ARGV[13] == '1' and tag .. 'owners')
local kept_ms, renewed = math.ceil(lease_us / 1000) + 2000, {}
local over, records = {}, {} -- {content, …}; {content, record, …}
for i, content in ipairs(touched) do
  local key, name, until_us = tag .. 'viewers:' .. names[i], names[i], contents[content]
  local leaving, seated, sample = unseats[content] or {}, seats[content] or {}, samples[i]
  -- the end of its last lease has come to what was written: time to trim, and to write a second more than it is, so that
  -- until the next time no lease ends behind that; the key outlives what is added until then
  local is_due = until_us > 0 and (not ends[i] or until_us / 1000000 > tonumber(ends[i]))
  if is_due then
    renewed[#renewed + 1] = string.format('%.6f', until_us / 1000000 + 1)
    renewed[#renewed + 1] = name
  end
  if sample and not sample.is_over then
    records[#records + 1] = name
    records[#records + 1] = seat_sampled(sample, leaving, seated, now_s, kept_ms)
  else
    if sample then over[#over + 1] = name end
    in_parts(leaving, 'ZREM', key)
    in_parts(seated, 'ZADD', key)
    if is_due then
      call('ZREMRANGEBYSCORE', key, '-inf', now_s)
      call('PEXPIRE', key, kept_ms)
    end
    if (is_due or #seated >= 2 * MANY) and call('ZCARD', key) > exact_max then
      records[#records + 1] = name
      records[#records + 1] = record_of(0, 1, ARGV[1]) -- the next call says which level is right
    end
  end
end
in_parts(over, 'HDEL', samples_key)
if #records > 0 then
  in_parts(records, 'HSET', samples_key)
  call('PEXPIRE', samples_key, memory_ms) -- it outlives every set
end
if #renewed > 0 then
  in_parts(renewed, 'ZADD', KEYS[4], 'GT')
  call('ZREMRANGEBYSCORE', KEYS[4], '-inf', now_s)
end
for name, value in pairs({rows = ARGV[9], signals = ARGV[10], tests = ARGV[11], views = views_counted}) do
  if tonumber(value) ~= 0 then call('HINCRBY', KEYS[3], name, value) end
end
return {1, #markers / 2, #keys}
