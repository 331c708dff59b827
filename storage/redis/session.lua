-- What is remembered of a session (key.py), and what it says about where the session is.

local unpacked = struct.unpack
local IDS_MAX = 32
local REGISTER, REGISTER_BYTES = '<dBdc16d', 41
local OWNER, OWNER_BYTES = '<c16dI4', 28 -- profile · since_us · when it was last written into the profile's set (s)
local PLAY, PAUSE = 1, 2

local function known_session(value)
  local state = {false, false, false, false, content = false, owner = false, ids = ''}
  if not value then return state end
  local mask, here = string.byte(value), 2
  for slot = 1, 4 do
    if mask % 2 == 1 then
      state[slot] = string.sub(value, here, here + REGISTER_BYTES - 1)
      here = here + REGISTER_BYTES
    end
    mask = math.floor(mask / 2)
  end
  if mask % 2 == 1 then
    state.content = string.sub(value, here, here + 15)
    here = here + 16
  end
  if mask >= 2 then
    state.owner = string.sub(value, here, here + OWNER_BYTES - 1)
    here = here + OWNER_BYTES
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
  if state.owner then mask = mask + 32 end
  return string.char(mask) .. (state[1] or '') .. (state[2] or '') .. (state[3] or '') .. (state[4] or '')
    .. (state.content or '') .. (state.owner or '') .. state.ids
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
local function seat(session, lease_us)
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

-- when the earliest of what is known of a session was (us)
local function earliest(session)
  local since_us
  for slot = 1, 4 do
    if session[slot] then
      local _, _, base_us = unpacked(REGISTER, session[slot])
      if not since_us or base_us < since_us then since_us = base_us end
    end
  end
  return since_us
end
