-- Positions and their effects, all or nothing. What is kept under which key: key.py; what the entries mean: sign.py.
--
-- KEYS  1 registration · 2 positions · 3 totals · 4 live; of a rebuild 1 and 3 are its own: it counts views with this
--       script, beside those in force
-- ARGV  1 registration as this reader opened it · 2 now_us · 3 leases (packed, entry.py) · 4 memory_ms of a session whose
--       lease is the first of them, and of no other shorter · 5 memory_s of a view
--       6 positions · 7 views · 8 sessions (packed, entry.py) · 9 rows · 10 signals · 11 tests
--       12 viewers of a content up to which each is kept · 13 whether streams are limited (1 or 0)
-- Answer: {1, views moved, sessions moved}; when nothing was done {0, why}: it is not where this reader left it,
--         {-1, why}: there is a key that is not of our making, or {-2, why}: it was lost or rebuilt.
--
-- Everything is read and checked before the first write, since Redis takes no write of a script back. command.lua,
-- session.lua, sample.lua and owner.lua are in front of this text (counters.py).

local HOUR_US, VIEWS_KEPT_HOURS = 3600 * 1000000, 31 * 24
local NONE = {}
local MANY = 16 -- seated by one call; where they are fewer, it is soon enough to count the set once a second

local tag = string.match(KEYS[1], '^{.-}:')
local view_prefix = tag .. 'view' .. (string.match(ARGV[1], ':.+$') or '') .. ':'
local views_prefix = string.gsub(KEYS[3], 'totals$', 'views:')
local now_us, leases, memory_ms = tonumber(ARGV[2]), leases_of(ARGV[3]), tonumber(ARGV[4])
local exact_max = tonumber(ARGV[12])

local texts, tohex = {}, bit.tohex
local function uuid_text(raw)
  local text = texts[raw]
  if not text then
    local a, b, c, d = unpacked('>I4I4I4I4', raw)
    b, c = tohex(b), tohex(c)
    text = tohex(a) .. '-' .. sub(b, 1, 4) .. '-' .. sub(b, 5) .. '-' .. sub(c, 1, 4) .. '-' .. sub(c, 5) .. tohex(d)
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
local view_keys, view_hours = {}, {}
at = 1
while at <= #ARGV[7] do
  local view, hour
  view, hour, at = unpacked('<c32i4', ARGV[7], at)
  local n = #view_keys + 1
  view_keys[n], view_hours[n] = view_prefix .. view, hour
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
local views_known = fetched(view_keys, 'MGET')
for i = 1, #view_keys do
  local known, hour = views_known[i], view_hours[i]
  known = known and tonumber(known)
  if not known or hour < known then
    local content = sub(view_keys[i], -16)
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
  local sum, zero, known = {}, {}, fetched(names, 'HMGET', key)
  for i = 1, #names do
    local views = (known[i] and tonumber(known[i]) or 0) + changes[i]
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

local sessions, more, session_order, session_keys = {}, {}, {}, {} -- more: of a session, the entries behind the first
local session_prefix, packed = tag .. 'session:', ARGV[8]
at = 1
while at <= #packed do
  local session, mask, ids
  session, mask, ids, at = unpacked('<c16BB', packed, at)
  local entry = {false, false, false, false, is_single = false, profile = false, ids = ''}
  for slot = 1, 4 do
    local bit_set = mask % 2
    if bit_set == 1 then
      entry[slot] = sub(packed, at, at + REGISTER_BYTES - 1)
      at = at + REGISTER_BYTES
    end
    mask = (mask - bit_set) / 2
  end
  entry.is_single = mask % 2 == 1
  if mask >= 2 then
    entry.profile = sub(packed, at, at + 15)
    at = at + 16
  end
  if ids > 0 then
    entry.ids = sub(packed, at, at + 8 * ids - 1)
    at = at + 8 * ids
  end
  if not sessions[session] then
    local n = #session_order + 1
    sessions[session], session_order[n], session_keys[n] = entry, session, session_prefix .. session
  elseif more[session] then
    more[session][#more[session] + 1] = entry
  else
    more[session] = {entry}
  end
end

-- whether the entry says something new; then it is in the state
local function taken(state, entry)
  local is_moved, is_seen, ids = false, false, entry.ids
  for here = 1, #ids, 8 do
    local id = sub(ids, here, here + 7)
    is_seen = is_known(id, state.ids)
    if not is_seen then
      state.ids = sub(state.ids .. id, -8 * IDS_MAX)
      is_moved = true
    end
  end
  if is_seen and entry.is_single then return is_moved end
  state.profile = entry.profile or state.profile
  for slot = 1, 4 do
    local register, known = entry[slot], state[slot]
    if register and (not known or is_newer(register, known)) then
      state[slot] = register
      is_moved = true
    end
  end
  return is_moved
end

local keys, values, memories, seats, unseats = {}, {}, {}, {}, {} -- memories: how long each of `keys` is kept (ms)
local contents = {} -- content → end of the last new lease
local streams = {} -- {profile, session, its memory, …}
local function listed(lists, content)
  local list = lists[content]
  if not list then
    list = {}
    lists[content] = list
    contents[content] = contents[content] or 0
  end
  return list
end

local sessions_known = fetched(session_keys, 'MGET')
for i = 1, #session_order do
  local session = session_order[i]
  local state = known_session(sessions_known[i])
  local is_moved = taken(state, sessions[session])
  for _, entry in ipairs(more[session] or NONE) do is_moved = taken(state, entry) or is_moved end
  if is_moved then
    local content, until_us = seat(state, leases)
    if content and until_us <= now_us then content = nil end
    if state.content and state.content ~= content then
      local leaving = listed(unseats, state.content)
      leaving[#leaving + 1] = session
    end
    if content then
      local seated = listed(seats, content)
      seated[#seated + 1] = until_us / 1000000
      seated[#seated + 1] = session
      if until_us > contents[content] then contents[content] = until_us end
    end
    state.content = content or false
    local profile, lease_us = state.profile, longest(state, leases)
    local kept_ms = lease_us > leases[0] and math.ceil(memory_ms * lease_us / leases[0]) or memory_ms
    if content and (profile or state.owner) and owns(state, profile, now_us, kept_ms) then
      local n = #streams
      streams[n + 1], streams[n + 2], streams[n + 3] = sub(state.owner, 1, 16), session, kept_ms
    end
    keys[#keys + 1] = session_keys[i]
    memories[#keys] = kept_ms
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
local viewers_prefix, viewers = tag .. 'viewers:', {}
if #names > 0 and call('HLEN', samples_key) > 0 then samples = fetched(names, 'HMGET', samples_key) end
for i = 1, #names do
  local key = viewers_prefix .. names[i]
  viewers[i] = key
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
for i = 1, #keys do call('SET', keys[i], values[i], 'PX', memories[i]) end
note_streams(owners, now_us, ARGV[13] == '1' and tag .. 'owners')
local renewed, over, records = {}, {}, {} -- {end, content, …}; {content, …}; {content, record, …}
for i = 1, #touched do
  local content, key, name = touched[i], viewers[i], names[i]
  local leaving, seated = unseats[content] or NONE, seats[content] or NONE
  local until_us, sample = contents[content], samples[i]
  -- the end of its last lease has come to what was written: time to trim, and to write a second more than it is, so that
  -- until the next time no lease ends behind that; the key outlives what is added until then
  local is_due = until_us > 0 and (not ends[i] or until_us / 1000000 > tonumber(ends[i]))
  -- no lease of this content ends later than that: its sets outlive it
  local kept_ms = math.ceil((math.max(until_us, tonumber(ends[i] or 0) * 1000000) - now_us) / 1000) + 2000
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
  call('PEXPIRE', samples_key, math.ceil(memory_ms * math.max(1, math.max(unpack(leases, 0)) / leases[0]))) -- it outlives every set
end
if #renewed > 0 then
  in_parts(renewed, 'ZADD', KEYS[4], 'GT')
  call('ZREMRANGEBYSCORE', KEYS[4], '-inf', now_s)
end
for name, value in pairs({rows = ARGV[9], signals = ARGV[10], tests = ARGV[11], views = views_counted}) do
  if tonumber(value) ~= 0 then call('HINCRBY', KEYS[3], name, value) end
end
return {1, #markers / 2, #keys}
