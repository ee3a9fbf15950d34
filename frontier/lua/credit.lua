#!lua flags=allow-oom
-- Take from, or give back to, a job's page budget.
-- KEYS[1] = {g}:job:<job>; ARGV: n (> 0 take up to n, < 0 give back), worker, request id,
--           refunds as they were when it was taken ("" = take)
-- Returns: {how many were taken (n when the job has no budget), refunds so far}
-- Never more pages than the job allows, over all workers: a request that is sent again (a lost
-- reply; a worker has one under way at a time) gets the same answer and takes nothing more, and what
-- has been refunded meanwhile is not given back a second time.
local left, n = redis.call('HGET', KEYS[1], 'credit'), tonumber(ARGV[1])
local refunds = tonumber(redis.call('HGET', KEYS[1], 'refunds') or '0')
if not left then return {n, refunds} end
if ARGV[4] ~= '' and tonumber(ARGV[4]) ~= refunds then return {0, refunds} end
local last = 'credit:' .. ARGV[2]
local id, before = string.match(redis.call('HGET', KEYS[1], last) or '', '^(%S+) (%-?%d+)$')
if id == ARGV[3] then return {tonumber(before), refunds} end
local taken = math.min(n, tonumber(left))
if taken ~= 0 then redis.call('HINCRBY', KEYS[1], 'credit', string.format('%.0f', -taken)) end
redis.call('HSET', KEYS[1], last, ARGV[3] .. ' ' .. string.format('%.0f', taken + 0))
return {taken, refunds}
