-- Spend requests of sliding windows and tell their states, in one round trip.
-- KEYS: the clients' windows. ARGV: the window in milliseconds, the cost (0 only looks), and the limit of each key.
-- Returns one string, 13 bytes for each key, big-endian: 1 or 0 in a byte, and in four bytes each the requests of the
-- window before, of the present one, and the milliseconds left of it. A list of lists takes a client longer to read.
-- The server's own clock counts, so that nodes need not agree on the time.
-- Whom it refuses most in an hour is kept for operators, a thousand names at most; that may fail (pcall) and decides nothing.
local window, cost = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local results = {}

for i, key in ipairs(KEYS) do
  local limit = tonumber(ARGV[2 + i])
  local state = redis.call('HMGET', key, 'start', 'previous', 'current')
  local start, previous, current = tonumber(state[1]) or now, tonumber(state[2]) or 0, tonumber(state[3]) or 0

  if now < start then start = now end  -- another server's clock, after a failover
  local gone = math.floor((now - start) / window)
  if gone == 1 then
    start, previous, current = start + window, current, 0
  elseif gone > 1 then
    start, previous, current = now, 0, 0
  end
  local left = window - (now - start)
  local allowed = math.floor(previous * left / window) + current + cost <= limit
  if allowed and cost > 0 then
    current = current + cost
    redis.call('HSET', key, 'start', start, 'previous', previous, 'current', current)
    redis.call('PEXPIRE', key, 2 * window)
  end
  if not allowed and cost > 0 then
    local refused = 'pouw:refused:' .. math.floor(time[1] / 3600)
    redis.pcall('ZINCRBY', refused, 1, key)
    redis.pcall('EXPIRE', refused, 7200)
    redis.pcall('ZREMRANGEBYRANK', refused, 0, -1001)
  end
  results[i] = struct.pack('>BI4I4I4', allowed and 1 or 0, previous, current, left)
end
return table.concat(results)
