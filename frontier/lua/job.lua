#!lua flags=allow-oom
-- Change a job's state if it is one of those expected (compare and set).
-- KEYS[1] = {g}:job:<job>; ARGV: comma-separated states expected ("" = any), epoch expected
--           ("" = any), then field, value...
-- Returns: 1 changed, 0 not
-- Completion is detected by anyone and takes effect once.
local state = redis.call('HGET', KEYS[1], 'state') or ''
if ARGV[1] ~= '' and not string.find(',' .. ARGV[1] .. ',', ',' .. state .. ',', 1, true) then return 0 end
if ARGV[2] ~= '' and redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[2] then return 0 end
for i = 3, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
return 1
