-- Spend requests of a sliding window and tell its state, in one round trip.
-- KEYS: the client's window. ARGV: the limit, the window in milliseconds, the cost (0 only looks).
-- Returns 1 or 0, the requests of the window before, of the present one, and the milliseconds left of it.
-- The server's own clock counts, so that nodes need not agree on the time.
local limit, window, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local state = redis.call('HMGET', KEYS[1], 'start', 'previous', 'current')
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
  redis.call('HSET', KEYS[1], 'start', start, 'previous', previous, 'current', current)
  redis.call('PEXPIRE', KEYS[1], 2 * window)
end
return {allowed and 1 or 0, previous, current, left}
