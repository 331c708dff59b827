#!lua
-- Commands as apply.lua gives them. The first line makes Redis refuse the script as a whole when it is out of memory, a
-- replica, or cannot write to its disk.

local call = redis.call

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

-- reading a key of another kind is an error, before the first write; of what is written unread, this has to say it
local function is(kind, key)
  local found = call('TYPE', key)['ok']
  return found == kind or found == 'none'
end

