#!lua
-- Commands as apply.lua gives them. The first line makes Redis refuse the script as a whole when it is out of memory, a
-- replica, or cannot write to its disk.

local call = redis.call

-- command(key, flag if there is one, list), a thousand at a time
local function in_parts(list, command, key, flag)
  for first = 1, #list, 1000 do
    local last = math.min(first + 999, #list)
    if flag then
      call(command, key, flag, unpack(list, first, last))
    else
      call(command, key, unpack(list, first, last))
    end
  end
end

-- the answers to command(key if there is one, names), false where there is nothing
local function fetched(names, command, key)
  local values = {}
  for first = 1, #names, 1000 do
    local last, part = math.min(first + 999, #names), nil
    if key then
      part = call(command, key, unpack(names, first, last))
    else
      part = call(command, unpack(names, first, last))
    end
    if last == #names and first == 1 then return part end
    for i = 1, #part do values[first + i - 1] = part[i] end
  end
  return values
end

-- reading a key of another kind is an error, before the first write; of what is written unread, this has to say it
local function is(kind, key)
  local found = call('TYPE', key)['ok']
  return found == kind or found == 'none'
end

