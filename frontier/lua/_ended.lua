-- Segments that have ended here. Their marks stay for a while and shut out what comes late: a report
-- that was on its way when its segment was closed, an owner that was away.
local KEPT = {d = 10 * math.max(longest, 60000), x = 259200000} -- ms: some leases; three days

-- Mark a segment that has no URLs here any more (d), or that was given up (x); forget some others.
local function ended(segment, mark, job)
  local G, E = T .. ':g', T .. ':ge'
  redis.call('HSET', G, segment, mark .. '\n' .. job)
  redis.call('ZADD', E, ms(now + KEPT[mark]), segment)
  local over = redis.call('ZRANGEBYSCORE', E, '-inf', ms(now), 'LIMIT', 0, 100)
  if #over > 0 then
    redis.call('HDEL', G, unpack(over))
    redis.call('ZREM', E, unpack(over))
  end
end
