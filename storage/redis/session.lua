-- What is remembered of a session (key.py), and what it says about where the session is.

-- A script is interpreted: locals are cheaper than looks into tables, loops by number than ipairs, which calls at each step.
local byte, sub, unpacked = string.byte, string.sub, struct.unpack
local IDS_MAX = 32
local REGISTER, REGISTER_BYTES, RANK_AT, BASE_AT = '<dBdc16d', 41, 9, 10 -- order · rank · base_us · content · time_us
local OWNER, OWNER_BYTES = '<c16dI4', 28 -- profile · since_us · when it was last written into the profile's set (s)
local PLAY, PAUSE = 1, 2
local RANKS, CLASSES = 16, 16 -- a register's byte is rank + RANKS * the class of its player's heartbeat interval

-- class → how long its leases are (us), of what entry.LEASES packed
local function leases_of(text)
  local leases, list = {}, {unpacked('<' .. string.rep('d', CLASSES), text)}
  for class = 0, CLASSES - 1 do leases[class] = list[class + 1] end
  return leases
end

-- of a register: order, rank, base_us, content, time_us, class
local function told(register)
  local order, rank_and_class, base_us, content, time_us = unpacked(REGISTER, register)
  local rank = rank_and_class % RANKS
  return order, rank, base_us, content, time_us, (rank_and_class - rank) / RANKS
end

local function known_session(value)
  local state = {false, false, false, false, content = false, owner = false, profile = false, ids = ''}
  if not value then return state end
  local mask, here = byte(value), 2
  for slot = 1, 4 do
    local bit_set = mask % 2
    if bit_set == 1 then
      state[slot] = sub(value, here, here + REGISTER_BYTES - 1)
      here = here + REGISTER_BYTES
    end
    mask = (mask - bit_set) / 2
  end
  if mask % 2 == 1 then
    state.content = sub(value, here, here + 15)
    here = here + 16
  end
  if mask >= 2 then
    state.owner = sub(value, here, here + OWNER_BYTES - 1)
    here = here + OWNER_BYTES
  end
  state.ids = sub(value, here)
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
  if state.owner then mask = mask + 32 end
  return string.char(mask) .. (state[1] or '') .. (state[2] or '') .. (state[3] or '') .. (state[4] or '')
    .. (state.content or '') .. (state.owner or '') .. state.ids
end

-- whether register a is newer than b; as tuples compare in sign.py
local function is_newer(a, b)
  if a == b then return false end
  local a_order, b_order = unpacked('<d', a), unpacked('<d', b)
  if a_order ~= b_order then return a_order > b_order end
  local _, a_rank, a_base, a_content, a_time, a_class = told(a)
  local _, b_rank, b_base, b_content, b_time, b_class = told(b)
  if a_rank ~= b_rank then return a_rank > b_rank end
  if a_content ~= b_content then return a_content > b_content end
  if a_base ~= b_base then return a_base < b_base end
  if a_time ~= b_time then return a_time > b_time end
  return a_class > b_class
end

-- of the registers by sequence and by time the later in time: rank, base_us, content, time_us, class, sequence; or nothing
local function newest(by_sequence, by_time)
  if not by_sequence and not by_time then return end
  local sequence, rank, base_us, content, time_us, class
  if by_sequence then sequence, rank, base_us, content, time_us, class = told(by_sequence) end
  if by_time then
    local _, rank_by_time, base_by_time, content_by_time, time, class_by_time = told(by_time)
    if not by_sequence or time > time_us then return rank_by_time, base_by_time, content_by_time, time, class_by_time end
  end
  return rank, base_us, content, time_us, class, sequence
end

-- the content that a session watches, until when, and how long that lease was; or nothing
local function seat(session, leases)
  local rank, base_us, content, time_us, class, sequence = newest(session[2], session[4])
  if not rank then return end
  local lease_us = leases[class]
  local state, state_base_us, state_content, state_time_us, state_class, state_sequence = newest(session[1], session[3])
  if not state or state == PLAY then return content, base_us + lease_us, lease_us end
  if state_content ~= content then -- it moved: only what came last says where to
    local is_later = time_us > state_time_us
    if sequence and state_sequence then is_later = sequence > state_sequence end
    if is_later then return content, base_us + lease_us, lease_us end
  elseif state == PAUSE then
    lease_us = leases[state_class]
    return content, state_base_us + lease_us, lease_us -- it watched until then; what came behind the pause proves nothing
  end
end

-- the longest lease that any of what is known of a session stands for (us)
local function longest(session, leases)
  local lease_us = 0
  for slot = 1, 4 do
    if session[slot] then
      local told_byte = byte(session[slot], RANK_AT)
      local here_us = leases[(told_byte - told_byte % RANKS) / RANKS]
      if here_us > lease_us then lease_us = here_us end
    end
  end
  return lease_us
end

-- when the earliest of what is known of a session was (us)
local function earliest(session)
  local since_us
  for slot = 1, 4 do
    if session[slot] then
      local base_us = unpacked('<d', session[slot], BASE_AT)
      if not since_us or base_us < since_us then since_us = base_us end
    end
  end
  return since_us
end
