-- The pools of write keys' rates: each collector says what it spent, and hears what it may spend next. While a pool is
-- well filled that is all of it, so that a burst may come wherever it comes; else everybody's share, so that what
-- collectors spend of the same tokens before they hear of each other stays small. By the server's clock alone.
--
-- KEYS  pools: hash of tokens, at (ms since 1970), and of every collector that asked lately when that was (ms)
-- ARGV  this collector · for each pool: rate (a second), burst, spent
-- Returns for each pool what may be spent; negative: the debt of all.

local ACTIVE_MS = 1000     -- who asked longer ago gets no share
local KEPT_MS = 60000      -- beyond the time in which a pool is full again

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local me = ARGV[1]
local answer = {}

for number, pool in ipairs(KEYS) do
    local at = 3 * number - 1
    local rate, burst, spent = tonumber(ARGV[at]), tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
    local tokens, since, others = burst, now, 0
    local known = redis.call('HGETALL', pool)
    for field = 1, #known, 2 do
        local name, value = known[field], tonumber(known[field + 1])
        if name == 'tokens' then
            tokens = value
        elseif name == 'at' then
            since = value
        elseif name ~= me then
            if now - value < ACTIVE_MS then
                others = others + 1
            else
                redis.call('HDEL', pool, name)
            end
        end
    end
    tokens = math.min(burst, tokens + math.max(0, now - since) * rate / 1000) - spent
    redis.call('HSET', pool, 'tokens', tokens, 'at', now, me, now)
    redis.call('PEXPIRE', pool, KEPT_MS + math.ceil((burst - tokens) * 1000 / rate))
    if tokens >= 1 and tokens <= burst / 2 then
        tokens = math.max(1, tokens / (others + 1))
    end
    answer[number] = math.floor(tokens)
end

return answer
