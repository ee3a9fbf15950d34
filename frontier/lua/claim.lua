#!lua flags=allow-oom
-- Lease one named host without URLs, for a contact that no queue holds (another host's robots.txt).
-- ARGV: now, worker, ttl ms, job, host
-- Returns: {token, 0, state}, or {0, ms to wait, ""} while it is held or its clock runs
-- Keeps 1 (one host, one holder) and 2 (never early).
local now, job, host = clock(), ARGV[4], ARGV[5]
local H = T .. ':h:' .. host
local h = redis.call('HMGET', H, 'k', 'x', 't', 's')
if h[1] then return {0, math.max(50, math.min(tonumber(h[2]) - now, 1000)), ''} end
if tonumber(h[3] or '0') > now then return {0, tonumber(h[3]) - now, ''} end
local token, deadline = redis.call('HINCRBY', M, 'tok', 1), ms(now + tonumber(ARGV[3]))
redis.call('HSET', H, 'k', ms(token), 'j', job, 'w', ARGV[2], 'x', deadline)
redis.call('ZADD', T .. ':l', deadline, host)
return {token, 0, h[4] or ''}
