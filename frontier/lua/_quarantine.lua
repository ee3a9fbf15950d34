-- What a server that may have lost writes has to be careful about.
local lost, quiet = 0, 0 -- when writes may last have been lost here; end of the last quarantine; ms

-- ms during which nothing may be granted here. The server's run id changes with a restart and with
-- the promotion of a replica: leases granted last may be unknown to it, and run on until their
-- deadlines. So nothing is granted, nor taken back, for the longest lease and a second more. All
-- that was written until the time kept in `at` is still here; lost tokens must not come again. A loss
-- goes by the time at which it was noticed, and is kept under the one before it: a count would come
-- again where the loss is lost itself, and whoever had made good the first would take it for that.
local function quarantine(ttl)
  local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
  local m = redis.call('HMGET', M, 'run', 'ttl', 'quiet', 'at', 'lost', 'tok')
  if tonumber(m[2] or 0) < ttl then redis.call('HSET', M, 'ttl', ms(ttl)) end
  lost, quiet = tonumber(m[5] or 0), tonumber(m[3] or 0)
  if m[1] ~= run then
    redis.call('HSET', M, 'run', run)
    if m[1] then
      redis.call('HSET', M, 'lost:' .. ms(lost), m[4] or '0')
      lost, quiet = math.max(lost + 1, now), now + math.max(tonumber(m[2] or 0), ttl) + 1000
      redis.call('HSET', M, 'quiet', ms(quiet), 'lost', ms(lost))
      redis.call('HSET', M, 'tok', ms(math.max(tonumber(m[6] or 0) + 1000000, first_token())))
    end
  end
  if now - tonumber(m[4] or 0) >= 1000 then redis.call('HSET', M, 'at', ms(now)) end
  return math.max(0, quiet - now)
end

-- When a host may be contacted. Until the quarantine's end it may have been, unknown to us, which
-- counts as a contact then; a host of unknown delay rests for some seconds.
local function clock(t, delay)
  t = tonumber(t or 0)
  if t >= quiet then return t end
  return quiet + math.max(tonumber(delay or 0), 5000)
end
