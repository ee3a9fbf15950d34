#!lua flags=allow-oom
-- Set what is left of a budget that is used up while nothing of it is out.
-- KEYS[1] = {g}:job:<job>; ARGV: pages left, refunds as they were before nothing was seen to be out
-- Returns: 1 set, 0 somebody else was first
local h = redis.call('HMGET', KEYS[1], 'credit', 'refunds')
if tonumber(h[1] or '0') > 0 or tonumber(h[2] or '0') ~= tonumber(ARGV[2]) then return 0 end
redis.call('HSET', KEYS[1], 'credit', ARGV[1])
redis.call('HINCRBY', KEYS[1], 'refunds', 1)
return 1
