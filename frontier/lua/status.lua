#!lua flags=allow-oom
-- Where a job's URLs are in this partition.
-- ARGV: now, job, hosts (1: tell its leased hosts from those that wait, by a look at each that is
--       leased for any job; 0: all of them wait)
-- Returns: {flat counters, hosts ready, hosts leased, hosts waiting, ms until next, 1 when writes may
--          have been lost here and the job is not reconciled, else 0}
-- Changes nothing.
local R, S = T .. ':r:' .. ARGV[2], T .. ':rs:' .. ARGV[2]
local job, ready, leased, waiting = ARGV[2], 0, 0, 0
for _, list in ipairs({R, S}) do
  ready = ready + redis.call('ZCOUNT', list, '-inf', ms(now))
  waiting = waiting + redis.call('ZCOUNT', list, '(' .. ms(now), '+inf')
end
for _, host in ipairs(ARGV[3] == '1' and redis.call('ZRANGE', T .. ':l', 0, -1) or {}) do
  if redis.call('HGET', T .. ':h:' .. host, 'j') == job then
    leased = leased + 1
    local due = redis.call('ZSCORE', R, host) or redis.call('ZSCORE', S, host)
    if due and tonumber(due) > now then waiting = waiting - 1 end
  end
end
local m = redis.call('HMGET', M, 'run', 'lost', 'rc:' .. job)
local doubt = m[1] and m[1] ~= string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
  or tonumber(m[2] or 0) > tonumber(m[3] or 0)
return {
  redis.call('HGETALL', T .. ':c:' .. job), ready, leased, waiting, next_due(job), doubt and 1 or 0,
}
