#!lua
-- Positions and their effects, all or nothing. What is kept under which key: key.py; what the entries mean: sign.py.
--
-- KEYS  1 registration · 2 positions · 3 totals · 4 live; of a rebuild 1 and 3 are its own: it counts views with this
--       script, beside those in force
-- ARGV  1 registration as this reader opened it · 2 now_us · 3 lease_us · 4 memory_ms of a session · 5 memory_s of a view
--       6 positions · 7 views · 8 sessions (packed, sign.py) · 9 rows · 10 signals · 11 tests
-- Answer: {1, views moved, sessions moved}; when nothing was done {0, why}: it is not where this reader left it,
--         {-1, why}: there is a key that is not of our making, or {-2, why}: it was lost or rebuilt.
--
-- Everything is read and checked before the first write, since Redis takes no write of a script back. The first line
-- makes Redis refuse the script as a whole when it is out of memory, a replica, or cannot write to its disk.

local HOUR_US, VIEWS_KEPT_HOURS, IDS_MAX = 3600 * 1000000, 31 * 24, 32
local REGISTER, REGISTER_BYTES = '<dBdc16d', 41
local PLAY, PAUSE = 1, 2

local tag = string.match(KEYS[1], '^{.-}:')
local view_prefix = tag .. 'view' .. (string.match(ARGV[1], ':.+$') or '') .. ':'
local views_prefix = string.gsub(KEYS[3], 'totals$', 'views:')
local now_us, lease_us, memory_ms = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local unpacked, call = struct.unpack, redis.call

-- command(…, list), a thousand at a time
local function in_parts(list, command, ...)
  local arguments = {command, ...}
  local fixed = #arguments
  for first = 1, #list, 1000 do
    local n = math.min(1000, #list - first + 1)
    for i = 1, n do arguments[fixed + i] = list[first + i - 1] end
    call(unpack(arguments, 1, fixed + n))
  end
end

-- the answers to command(…, names), false where there is nothing
local function fetched(names, command, ...)
  local values, arguments = {}, {command, ...}
  local fixed = #arguments
  for first = 1, #names, 1000 do
    local n = math.min(1000, #names - first + 1)
    for i = 1, n do arguments[fixed + i] = names[first + i - 1] end
    local part = call(unpack(arguments, 1, fixed + n))
    for i = 1, n do values[first + i - 1] = part[i] end
  end
  return values
end

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

-- reading a key of another kind is an error, before the first write; of what is written unread, this has to say it
local function is(kind, key)
  local found = call('TYPE', key)['ok']
  return found == kind or found == 'none'
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
  entry.is_single = mask == 1
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

local function known_session(value)
  local state = {false, false, false, false, content = false, ids = ''}
  if not value then return state end
  local mask, here = string.byte(value), 2
  for slot = 1, 4 do
    if mask % 2 == 1 then
      state[slot] = string.sub(value, here, here + REGISTER_BYTES - 1)
      here = here + REGISTER_BYTES
    end
    mask = math.floor(mask / 2)
  end
  if mask == 1 then
    state.content = string.sub(value, here, here + 15)
    here = here + 16
  end
  state.ids = string.sub(value, here)
  return state
end

local function is_known(id, ids)
  local here = string.find(ids, id, 1, true)
  while here and here % 8 ~= 1 do here = string.find(ids, id, here + 1, true) end
  return here ~= nil
end

local function packed_session(state)
  local mask, bit = 0, 1
  for slot = 1, 4 do
    if state[slot] then mask = mask + bit end
    bit = bit * 2
  end
  if state.content then mask = mask + 16 end
  return string.char(mask) .. (state[1] or '') .. (state[2] or '') .. (state[3] or '') .. (state[4] or '')
    .. (state.content or '') .. state.ids
end

-- whether register a is newer than b; as tuples compare in sign.py
local function is_newer(a, b)
  if a == b then return false end
  local a_order, b_order = unpacked('<d', a), unpacked('<d', b)
  if a_order ~= b_order then return a_order > b_order end
  local _, a_rank, a_base, a_content, a_time = unpacked(REGISTER, a)
  local _, b_rank, b_base, b_content, b_time = unpacked(REGISTER, b)
  if a_rank ~= b_rank then return a_rank > b_rank end
  if a_content ~= b_content then return a_content > b_content end
  if a_base ~= b_base then return a_base < b_base end
  return a_time > b_time
end

-- of the registers by sequence and by time the later in time: rank, base_us, content, time_us, sequence; or nothing
local function newest(by_sequence, by_time)
  if not by_sequence and not by_time then return end
  local sequence, rank, base_us, content, time_us
  if by_sequence then sequence, rank, base_us, content, time_us = unpacked(REGISTER, by_sequence) end
  if by_time then
    local _, rank_by_time, base_by_time, content_by_time, time = unpacked(REGISTER, by_time)
    if not by_sequence or time > time_us then return rank_by_time, base_by_time, content_by_time, time end
  end
  return rank, base_us, content, time_us, sequence
end

-- the content that a session watches and until when, or nothing
local function seat(session)
  local rank, base_us, content, time_us, sequence = newest(session[2], session[4])
  if not rank then return end
  local state, state_base_us, state_content, state_time_us, state_sequence = newest(session[1], session[3])
  if not state or state == PLAY then return content, base_us + lease_us end
  if state_content ~= content then -- it moved: only what came last says where to
    local is_later = time_us > state_time_us
    if sequence and state_sequence then is_later = sequence > state_sequence end
    if is_later then return content, base_us + lease_us end
  elseif state == PAUSE then
    return content, state_base_us + lease_us -- it watched until then; what came behind the pause proves nothing
  end
end

local keys, values, seats, unseats, contents = {}, {}, {}, {}, {} -- contents: content → end of the last new lease
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
  local state, is_moved = known_session(value), false
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
      for slot = 1, 4 do
        if entry[slot] and (not state[slot] or is_newer(entry[slot], state[slot])) then
          state[slot] = entry[slot]
          is_moved = true
        end
      end
    end
  end
  if is_moved then
    local content, until_us = seat(state)
    if content and until_us <= now_us then content = nil end
    if state.content and state.content ~= content then
      put(unseats, state.content, session)
    end
    if content then
      put(seats, content, string.format('%.6f', until_us / 1000000), session)
      contents[content] = math.max(contents[content], until_us)
    end
    state.content = content or false
    keys[#keys + 1] = session_keys[i]
    values[#values + 1] = packed_session(state)
  end
end
if not is('hash', KEYS[3]) then return {-1, KEYS[3] .. ' is no hash'} end
local names, touched = {}, {}
for content in pairs(contents) do
  names[#names + 1] = uuid_text(content)
  touched[#touched + 1] = content
end
local ends = fetched(names, 'ZMSCORE', KEYS[4])
for i, name in ipairs(names) do
  local key = tag .. 'viewers:' .. name
  if not ends[i] and not is('zset', key) then return {-1, key .. ' is no sorted set'} end
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
local now_s, renewed = string.format('%.6f', now_us / 1000000), {}
for i, content in ipairs(touched) do
  local key, until_us = tag .. 'viewers:' .. names[i], contents[content]
  if unseats[content] then in_parts(unseats[content], 'ZREM', key) end
  if seats[content] then in_parts(seats[content], 'ZADD', key) end
  -- the end of its last lease has moved by a second: time to trim; the key outlives what is added until the next time
  if until_us > 0 and (not ends[i] or until_us / 1000000 > tonumber(ends[i]) + 1) then
    call('ZREMRANGEBYSCORE', key, '-inf', now_s)
    call('PEXPIRE', key, math.ceil(lease_us / 1000) + 2000)
    renewed[#renewed + 1] = string.format('%.6f', until_us / 1000000)
    renewed[#renewed + 1] = names[i]
  end
end
if #renewed > 0 then
  in_parts(renewed, 'ZADD', KEYS[4], 'GT')
  call('ZREMRANGEBYSCORE', KEYS[4], '-inf', now_s)
end
for name, value in pairs({rows = ARGV[9], signals = ARGV[10], tests = ARGV[11], views = views_counted}) do
  if tonumber(value) ~= 0 then call('HINCRBY', KEYS[3], name, value) end
end
return {1, #markers / 2, #keys}
