#!lua flags=allow-oom
-- Note that the one URL of a lease is about to be worked on: a suspect, out on lost leases before.
-- ARGV: now, host, token
-- Returns: 1, or 0 when the token is stale
-- Keeps 3 (a stale token changes nothing). Only what was begun counts as another loss (reap), or the
-- URLs that wait their turn in a worker would be taken for those that kill it.
local H = T .. ':h:' .. ARGV[2]
if redis.call('HGET', H, 'k') ~= ARGV[3] then return 0 end
redis.call('HSET', H, 'go', 1)
return 1
