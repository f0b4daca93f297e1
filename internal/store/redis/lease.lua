-- One round of leases, atomic. KEYS: epoch, nodes, then one for each ask.
-- ARGV: nonce, node, settle ms, node ttl ms, then 11 for each ask:
--   slots(0/1) index amount need want debt return held generation ttl length
-- Returns {epoch, settling, nodes, {granted, used, index, generation}...}.
-- Numbers are whole and below 2^53, so that doubles hold them; they are stored as text with %.0f,
-- because tostring would round them.
local function text(n) return string.format('%.0f', n) end
local t = redis.call('TIME')
local now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)

local epoch = redis.call('GET', KEYS[1])
if not epoch then
  epoch = ARGV[1] .. ':' .. text(now)
  redis.call('SET', KEYS[1], epoch)
end
local settling = math.abs(now - tonumber(string.match(epoch, ':(%d+)$'))) < tonumber(ARGV[3])

redis.call('ZADD', KEYS[2], now, ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', text(now - tonumber(ARGV[4])))
local nodes = redis.call('ZCARD', KEYS[2])
local out = {epoch, settling and 1 or 0, nodes}

local function spend(key, index, amount, need, want, debt, ret, held, gen, ttl, length)
  local h = redis.call('HMGET', key, 'w', 'u', 'g')
  local w, used, g = tonumber(h[1]), tonumber(h[2]), h[3]
  if not w then
    w, used, g = index, 0, ARGV[1] .. ':' .. text(now)
  end
  if index > w then -- every window that passed paid off one amount
    used = math.max(0, used - (index - w) * amount)
    w = index
  end
  if index == w then
    if gen ~= g then used = used + held end -- this side has lost what was leased
    used = math.max(0, used - ret)
  end
  used = used + debt
  local grant, room = 0, amount - used
  if not settling and want > 0 and room >= need then
    grant = need + math.min(want - need, math.floor((room - need) / (2 * nodes)))
  end
  used = used + grant
  redis.call('HSET', key, 'w', text(w), 'u', text(used), 'g', g)
  local owed = amount > 0 and math.floor(used / amount) or 1
  redis.call('PEXPIRE', key, text(math.min(ttl + owed * length, 34560000000))) -- 400 days at most
  return {grant, used, w, g}
end

local function slots(key, seq, amount, want, held, ttl)
  local others, mine, last = 0, 0, -1
  local all = redis.call('HGETALL', key)
  for i = 1, #all, 2 do
    local n, till, s = string.match(all[i + 1], '^(%d+):(%d+):(%d+)$')
    n, till, s = tonumber(n), tonumber(till), tonumber(s)
    if all[i] == ARGV[2] then
      mine, last = n, s
    elseif till <= now then
      redis.call('HDEL', key, all[i])
    else
      others = others + n
    end
  end
  if seq < last then return {mine, others + mine, seq, ''} end -- overtaken by a later ask
  local n = math.min(want, math.max(0, amount - others))
  if settling then n = held end
  n = math.max(n, held)
  if n == 0 then
    redis.call('HDEL', key, ARGV[2])
  else
    redis.call('HSET', key, ARGV[2], text(n) .. ':' .. text(now + ttl) .. ':' .. text(seq))
    redis.call('PEXPIRE', key, text(2 * ttl))
  end
  return {n, others + n, seq, ''}
end

local a = 5
for k = 3, #KEYS do
  local function num(i) return tonumber(ARGV[a + i]) end
  if ARGV[a] == '1' then
    out[#out + 1] = slots(KEYS[k], num(1), num(2), num(4), num(7), num(9))
  else
    out[#out + 1] = spend(KEYS[k], num(1), num(2), num(3), num(4), num(5), num(6), num(7), ARGV[a + 8], num(9), num(10))
  end
  a = a + 11
end
return out
