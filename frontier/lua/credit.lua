#!lua flags=allow-oom
-- Take from, or give back to, a job's page budget.
-- KEYS[1] = {g}:job:<job>; ARGV: n (> 0 take up to n, < 0 give back), worker, request id
-- Returns: how many were taken (n when the job has no budget)
-- Never more pages than the job allows, over all workers: a request that is sent again (a lost
-- reply) gets the same answer and takes nothing more.
local left, n = redis.call('HGET', KEYS[1], 'credit'), tonumber(ARGV[1])
if not left then return n end
local last = 'credit:' .. ARGV[2]
local id, before = string.match(redis.call('HGET', KEYS[1], last) or '', '^(%S+) (%-?%d+)$')
if id == ARGV[3] then return tonumber(before) end
local taken = math.min(n, tonumber(left))
if taken ~= 0 then redis.call('HINCRBY', KEYS[1], 'credit', string.format('%.0f', -taken)) end
redis.call('HSET', KEYS[1], last, ARGV[3] .. ' ' .. string.format('%.0f', taken + 0))
return taken
