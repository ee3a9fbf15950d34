#!lua flags=allow-oom
-- Take, keep or leave a lock.
-- KEYS[1] = {g}:lock:<name>; ARGV: token, ttl ms (0 = leave)
-- Returns: 1 held (or left) by this token, 0 held by another
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
if tonumber(ARGV[2]) == 0 then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
return 1
