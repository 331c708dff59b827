
-- Which sessions a profile has: a set for each, of those that were written into it lately, who has ended included. What a
-- session does now its own string says (session.lua), which names the profile too; so the set is written when a session
-- begins, changes its profile, or was not for some time, and not with every sign.

local STREAMS_MAX = 64 -- of a profile, those written last; one for all guests of an app has no end
local KEPT_MEMORIES = 6 -- of a session: a set without a write is gone then
local LATEST_S = 60 -- a profile is named to who limits streams

-- whether the session is to be written into the set of its profile, `profile` when there is a new one; then it is noted
local function owns(session, profile, now_us, memory_ms)
  local owner, since_us, written_s
  if session.owner then owner, since_us, written_s = unpacked(OWNER, session.owner) end
  if owner and (not profile or profile == owner) and
    now_us / 1000000 - written_s < KEPT_MEMORIES / 2 * memory_ms / 1000 then return false end
  session.owner = struct.pack(OWNER, profile or owner, since_us or earliest(session), math.floor(now_us / 1000000))
  return true
end

-- {profile, session, its memory (ms), …} → {key, its members now, session, memory, …}; an error where a key is not ours
local function owners_of(streams, tag)
  local owners, prefix = {}, tag .. 'streams:'
  for i = 1, #streams, 3 do
    local n, key = #owners, prefix .. streams[i]
    owners[n + 1], owners[n + 2], owners[n + 3], owners[n + 4] = key, call('ZCARD', key), streams[i + 1], streams[i + 2]
  end
  return owners
end

-- `latest`: the set of profiles that were written lately, where somebody reads it
local function note_streams(owners, now_us, latest)
  local now_s, profiles = math.floor(now_us / 1000000), {}
  for i = 1, #owners, 4 do
    local key, kept_ms = owners[i], KEPT_MEMORIES * owners[i + 3]
    call('ZADD', key, now_s, owners[i + 2])
    if owners[i + 1] >= STREAMS_MAX then call('ZREMRANGEBYRANK', key, 0, -STREAMS_MAX - 1) end
    if owners[i + 1] > 0 or call('PEXPIRE', key, kept_ms, 'NX') == 0 then
      call('PEXPIRE', key, kept_ms, 'GT') -- who else is in it may send heartbeats more rarely
    end
    if latest then
      profiles[#profiles + 1] = now_s
      profiles[#profiles + 1] = sub(key, -16)
    end
  end
  if #profiles > 0 then
    in_parts(profiles, 'ZADD', latest)
    call('ZREMRANGEBYSCORE', latest, '-inf', now_s - LATEST_S)
    call('EXPIRE', latest, LATEST_S)
  end
end

