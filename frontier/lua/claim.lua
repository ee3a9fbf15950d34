#!lua flags=allow-oom
-- Lease one named host without URLs, for a contact that no queue holds (another host's robots.txt).
-- ARGV: now, worker, ttl ms, job, host
-- Returns: {token, 0, state}, or {0, ms to wait, ""} while it is held or its clock runs
-- Keeps 1 (one host, one holder) and 2 (never early). A claim that is refused leaves word that it is
-- wanted (h.want, a moment): lease leaves the host to it, or a busy host would never be claimed.
local now, job, host = clock(), ARGV[4], ARGV[5]
local H = T .. ':h:' .. host
local h = redis.call('HMGET', H, 'k', 'x', 't', 's')
local function wanted() redis.call('HSET', H, 'want', ms(now + 1500)) end
if h[1] then
  wanted()
  return {0, math.max(50, math.min(tonumber(h[2]) - now, 1000)), ''}
end
if tonumber(h[3] or '0') > now then
  if tonumber(h[3]) - now < 1500 then redis.call('HSET', H, 'want', ms(tonumber(h[3]) + 1500)) end
  return {0, tonumber(h[3]) - now, ''}
end
redis.call('HDEL', H, 'want')
local token, deadline = redis.call('HINCRBY', M, 'tok', 1), ms(now + tonumber(ARGV[3]))
redis.call('HSET', H, 'k', ms(token), 'j', job, 'w', ARGV[2], 'x', deadline)
redis.call('ZADD', T .. ':l', deadline, host)
return {token, 0, h[4] or ''}
