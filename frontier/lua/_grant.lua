-- One host of one job to one worker, or nil and a later look.
local LOW = 64 -- URLs of a class and the ones before it at which spilled ones are called back

-- Whether leases of a job were ever lost, or URLs forced in: else no entry has to be looked at.
local oddities = {}
local function odd(job)
  if oddities[job] == nil then
    local had = redis.call('HMGET', T .. ':c:' .. job, 'reaped', 'forced')
    oddities[job] = (had[1] or had[2] or sums[job] and sums[job].reaped) and true or false
  end
  return oddities[job]
end

-- Up to `most` URLs from the heads of a host's queues, slow ones only among themselves. One that was
-- out on a lost lease comes alone, so that a URL that kills its worker is told apart; one that was
-- forced in while it was queued comes once a lease.
local function take(job, host, most)
  local q0, q1, q2, got = queue(job, 0, host), queue(job, 1, host), queue(job, 2, host), {}
  repeat
    local popped = redis.call('LMPOP', 3, q0, q1, q2, 'LEFT', 'COUNT', most - #got)
    for _, entry in ipairs(popped and unstruck(job, popped[2]) or {}) do got[#got + 1] = entry end
  until not popped or #got == most
  if #got == 0 then
    local popped = redis.call('LPOP', queue(job, 3, host), most)
    got = popped and unstruck(job, popped) or got
  end
  if not odd(job) then return got end
  local once = {}
  for i, entry in ipairs(got) do
    local losses, fp = string.match(entry, '^%d+\t(%d+)\t(%d+)')
    if losses ~= '0' or once[fp] then
      local rest = {}
      for k = i == 1 and 2 or i, #got do rest[#rest + 1], got[k] = got[k], nil end
      put_back(job, host, rest, 0)
      break
    end
    once[fp] = true
  end
  return got
end

-- Call back a host's spilled URLs in time.
local function call_back(job, host)
  local away, n = spilled(job, host), 0
  if not away then return false end
  for class = 0, 3 do
    n = n + redis.call('LLEN', queue(job, class, host))
    if away[class + 1] > 0 and n < LOW then
      redis.call('ZADD', T .. ':y:' .. job, 'NX', ms(now), host)
      return true
    end
  end
end

-- Whether a job has enough in its buffer for a segment, or hosts to refill
local function laden(job)
  return redis.call('ZCARD', T .. ':y:' .. job) > 0 or redis.call('LLEN', T .. ':o:' .. job) >= 1000
end

-- Jobs that were refused a host wait in line (h.line, h.turn: until when it is the first one's).
local function line_up(H, line, job)
  if not string.find(',' .. line, ',' .. job .. ',', 1, true) then
    redis.call('HSET', H, 'line', line .. job .. ',')
  end
end

local function grant(job, host, worker, ttl, most, slow)
  local H = T .. ':h:' .. host
  local h = redis.call('HMGET', H, 'k', 'x', 't', 'd', 's', 'want', 'line', 'turn', 'j')
  local line, t, wait = h[7] or '', clock(h[3], h[4]), nil
  if h[1] then
    wait = math.min(tonumber(h[2]), now + 1000)
    if h[9] ~= job then line_up(H, line, job) end
  elseif t > now then
    wait = t
  elseif tonumber(h[6] or 0) > now then -- a claim is waiting for it
    wait = h[6]
  elseif line ~= '' and tonumber(h[8] or 0) > now and string.match(line, '^[^,]*') ~= job then
    wait = math.min(tonumber(h[8]), now + 100)
    line_up(H, line, job)
  end
  if wait then
    redis.call('ZADD', T .. ':r:' .. job, 'XX', ms(wait), host)
    redis.call('ZADD', T .. ':rs:' .. job, 'XX', ms(wait), host)
    return nil
  end
  local got = take(job, host, tonumber(h[4] or 0) > slow and 1 or most)
  local low = call_back(job, host)
  if #got == 0 then
    expect(job, host, now + 500) -- what it has is on its way back, or nothing
    return nil
  end
  -- The first in line has been served, or has let its turn pass.
  if line ~= '' then redis.call('HSET', H, 'line', string.match(line, '^[^,]*,(.*)$')) end
  local token, deadline = new_token(), ms(now + ttl)
  redis.call('HSET', H, 'k', ms(token), 'j', job, 'w', worker, 'x', deadline, 'n', #got)
  local blob = join(got)
  redis.call('SET', T .. ':u:' .. host, blob)
  redis.call('ZADD', T .. ':l', deadline, host)
  expect(job, host, tonumber(deadline))
  count(job, 'queued', -#got)
  count(job, 'leased', #got)
  return {host, job, token, h[5] or '', #got, blob}
end
