-- What is known of one host, and what each job has of it.
-- ARGV: now, host, then jobs
-- Returns: {flat record, ms to the end of its lease (-1: none), URLs leased, now,
--           {job, due ms (-1: not expected), queued of class 0..3, spilled of class 0..3} each}
-- Changes nothing.
local host, out = ARGV[2], {}
local H = T .. ':h:' .. host
local lease = redis.call('HMGET', H, 'x', 'n')
local deadline = lease[1]
for i = 3, #ARGV do
  local job, away = ARGV[i], spilled(ARGV[i], host) or {0, 0, 0, 0}
  local due = redis.call('ZSCORE', T .. ':r:' .. job, host) or redis.call('ZSCORE', T .. ':rs:' .. job, host)
  local row, any = {job, due and math.max(0, tonumber(due) - now) or -1}, due
  for class = 0, 3 do
    row[#row + 1] = redis.call('LLEN', queue(job, class, host))
    any = any or row[#row] > 0
  end
  for class = 1, 4 do row[#row + 1] = away[class] end
  if any then out[#out + 1] = row end
end
return {
  redis.call('HGETALL', H), deadline and math.max(0, tonumber(deadline) - now) or -1,
  tonumber(lease[2] or 0), now, out,
}
