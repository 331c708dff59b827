-- Viewers of a content that more watch than are kept: a sample of them, at a level.
--
-- Of a session's hash `level` last bits have to be zero for it to be in the sample, where it then stands for 2^level. It
-- is in the set of the level that was in force at its newest sign, or in none. So each session counts 2^level with a
-- chance of 2^-level, whatever became of the level since: the sum is right on average at every moment, also while some
-- sessions were seated at one level and some at another, and no move of the level has to look at all of them.
--
-- The level rises when more than the bound would be in its set. What is left in the sets of lower levels comes up a few
-- at a time, those first whose leases end first. It falls when fewer than LEAST of the bound would be, by as many levels
-- as that takes; sessions outside of the sample come in with their next sign, and until then the others stand for them.

local LEVEL_MAX, HASH_DIGITS = 24, 6 -- of 4 bits
local LEAST = 0.45 -- of the bound. Below 0.42 of 262,144 more than one read in a thousand would be off by 1 %
local UP = 2 -- come up for each that is seated: the sets of all levels together then do not grow
local RECORD = '<BI4' -- level · bits of the levels that have a set; behind them the seed of the hash

local function set_of(key, level)
  return level == 0 and key or key .. ':' .. level
end

-- no player knows the seed, so none can choose a session that is in the sample
local function is_sampled(sample, session)
  if sample.level == 0 then return true end
  local hash = redis.sha1hex(sample.seed .. session)
  return tonumber(string.sub(hash, -HASH_DIGITS), 16) % 2 ^ sample.level == 0
end

-- the sample that a record tells of, at the level which is right now; or nothing and the name of a key that is not ours
local function sample_of(key, record, now_s, exact_max)
  local level, bits, at = unpacked(RECORD, record)
  local sample = {key = key, seed = string.sub(record, at), sets = {}}
  local viewers = 0
  for of_level = 0, LEVEL_MAX do
    if bit.band(bits, bit.lshift(1, of_level)) ~= 0 then
      local name = set_of(key, of_level)
      local kind = call('TYPE', name)['ok']
      if kind == 'zset' then
        sample.sets[#sample.sets + 1] = {level = of_level, key = name}
        viewers = viewers + call('ZCOUNT', name, '(' .. now_s, '+inf') * 2 ^ of_level
      elseif kind ~= 'none' then
        return nil, name
      end
    end
  end
  while level > 0 and viewers < LEAST * exact_max * 2 ^ level do level = level - 1 end
  while level < LEVEL_MAX and viewers > exact_max * 2 ^ level do level = level + 1 end
  if not is('zset', set_of(key, level)) then return nil, set_of(key, level) end
  sample.level = level
  local last = sample.sets[#sample.sets]
  sample.is_over = level == 0 and (not last or last.level == 0) -- everybody is kept again
  return sample
end

-- as it is written down
local function record_of(level, bits, seed)
  return struct.pack(RECORD, level, bits) .. seed
end

-- who leaves {session, …} and who is seated {end of its lease, session, …}; answers the record, which is to be kept
local function seat_sampled(sample, leaving, seated, now_s, kept_ms)
  local current, kept, members = set_of(sample.key, sample.level), {}, {}
  for i = 1, #seated, 2 do
    members[#members + 1] = seated[i + 1]
    if is_sampled(sample, seated[i + 1]) then
      kept[#kept + 1] = seated[i]
      kept[#kept + 1] = seated[i + 1]
    end
  end
  local bits, left = bit.lshift(1, sample.level), UP * #members
  for _, set in ipairs(sample.sets) do
    bits = bit.bor(bits, bit.lshift(1, set.level))
    call('ZREMRANGEBYSCORE', set.key, '-inf', now_s)
    in_parts(leaving, 'ZREM', set.key)
    if set.level ~= sample.level then in_parts(members, 'ZREM', set.key) end
    if set.level < sample.level and left > 0 then
      local first = call('ZPOPMIN', set.key, left)
      left = left - #first / 2
      for i = 1, #first, 2 do
        if is_sampled(sample, first[i]) then
          kept[#kept + 1] = first[i + 1]
          kept[#kept + 1] = first[i]
        end
      end
    end
  end
  in_parts(kept, 'ZADD', current)
  if #kept > 0 then call('PEXPIRE', current, kept_ms) end
  return record_of(sample.level, bits, sample.seed)
end

