#!lua flags=allow-oom
-- Say what became of leases' URLs and, with free, give the hosts back.
-- ARGV: now, then per lease: host, token, free (1|0), ms until the host may be contacted, delay ms,
--       state, blocked reason, groups, and per group: action (p|w|r), segment, reason, wait ms, n, n
--       fingerprints; n = * (alone, with p): all that the lease still holds
--       p pending on segment (reason "" done, else dropped); w waits; r returns to its queue
-- Returns: 2 per lease: {1, ms until the job's next host}, {0, 0} when the token is stale, {-1, 0}
--          when a segment is fenced (sealed, settled, given up by recovery, another job's, nameless)
-- Keeps 3 (a stale token changes nothing), 4 (in exactly one place) and 5 (nothing is done here:
-- settle is). Checks come before the first write; a URL reported twice counts once.
local G = T .. ':g'

-- What a lease's holder says of its URLs, and where the next lease begins
local function groups(at)
  local out, i = {}, at + 8
  for g = 1, ARGV[at + 7] do
    local all = ARGV[i + 4] == '*'
    local last = i + 4 + (all and 0 or ARGV[i + 4])
    out[g] = {action = ARGV[i], segment = ARGV[i + 1], reason = ARGV[i + 2], wait = ARGV[i + 3], first = i + 5, last = last, all = all}
    i = last + 1
  end
  return out, i
end

local states = {} -- segment -> its state, false for none
local function fenced(told, job)
  for _, group in ipairs(told) do
    local segment = group.segment
    if group.action == 'p' then
      if states[segment] == nil then states[segment] = redis.call('HGET', G, segment) end
      if segment == '' or states[segment] and states[segment] ~= 'o\n' .. job then return true end
    end
  end
end

-- Its name among those that wait; one that waits already (forced in once more) has another.
local function waiter(job, host, entry, why)
  local attempts, losses, fp, class, _, payload = fields(entry)
  local n, name = tonumber(attempts), nil
  repeat
    n = n + 1
    name = host .. '\n' .. table.concat({ms(n), losses, fp, class, why, payload}, '\t')
  until not redis.call('ZSCORE', T .. ':w:' .. job, name)
  return name
end

-- Put entries of a lease, in one string, on a segment.
local function put_pending(job, host, token, told, n, blob)
  local segment = told.segment
  redis.call('HSET', T .. ':p:' .. segment, heading(token, blob, n, told.reason), host .. '\n' .. blob)
  if not states[segment] then
    states[segment] = 'o\n' .. job
    redis.call('HSET', G, segment, states[segment])
  end
  return n
end

-- Where each entry goes: what returns (with free, all that nothing is said of), waits, is put on
-- segments (how many), and what is still out. What returns keeps its order.
local function sort(job, host, token, told, entries, free)
  local back, wait, left, by, fps, moved = {}, {}, {}, {}, {}, 0
  for i = 1, #entries do
    fps[i] = fingerprint(entries[i])
    by[fps[i]] = entries[i]
  end
  local returned = {}
  for _, group in ipairs(told) do
    local into = {}
    for i = group.first, group.last do
      local fp = ARGV[i]
      local entry = by[fp]
      by[fp] = nil
      if not entry then
      elseif group.action == 'p' then
        into[#into + 1] = entry
      elseif group.action == 'w' then
        wait[#wait + 1] = ms(now + tonumber(group.wait))
        wait[#wait + 1] = waiter(job, host, entry, group.reason)
      else
        returned[fp] = true
      end
    end
    if #into > 0 then moved = moved + put_pending(job, host, token, group, #into, join(into)) end
  end
  for i = 1, #entries do
    if returned[fps[i]] or free and by[fps[i]] then
      back[#back + 1] = entries[i]
    elseif by[fps[i]] then
      left[#left + 1] = entries[i]
    end
  end
  return back, wait, left, moved
end

local function give_back(host, job, t, h)
  redis.call('HDEL', T .. ':h:' .. host, 'k', 'j', 'w', 'x', 'n', 'go', 'exc')
  redis.call('ZREM', T .. ':l', host)
  expect(job, host, t)
  local first = string.match(h[4] or '', '^[^,]+')
  if first then -- another job waits for this host: it goes first, if it comes soon
    redis.call('HSET', T .. ':h:' .. host, 'turn', ms(t + 1500))
    redis.call('ZADD', T .. ':r:' .. first, 'XX', ms(t), host)
    redis.call('ZADD', T .. ':rs:' .. first, 'XX', ms(t), host)
  end
end

local function report(at, told)
  local host, token, free = ARGV[at], ARGV[at + 1], ARGV[at + 2] == '1'
  local H, U = T .. ':h:' .. host, T .. ':u:' .. host
  local h = redis.call('HMGET', H, 'k', 'j', 't', 'line', 'n')
  if h[1] ~= token then return 0 end
  if fenced(told, h[2]) then return -1 end
  local job, had, back, wait, left, moved = h[2], tonumber(h[5] or 0), {}, {}, {}, 0
  local blob = had > 0 and redis.call('GET', U)
  if blob and told[1] and told[1].all then
    moved = put_pending(job, host, token, told[1], had, blob)
  elseif blob then
    back, wait, left, moved = sort(job, host, token, told, split(blob), free)
  end
  for first = 1, #wait, 500 do
    redis.call('ZADD', T .. ':w:' .. job, unpack(wait, first, math.min(first + 499, #wait)))
  end
  put_back(job, host, back, 0)
  if #left > 0 then
    redis.call('SET', U, join(left))
  elseif blob then
    redis.call('DEL', U)
  end
  local t = math.max(tonumber(h[3] or '0'), now + tonumber(ARGV[at + 3]))
  redis.call('HSET', H, 't', ms(t), 'd', ARGV[at + 4], 's', ARGV[at + 5], 'b', ARGV[at + 6], 'n', #left)
  if free then give_back(host, job, t, h) end
  count(job, 'leased', -(moved + #wait / 2 + #back))
  count(job, 'pending', moved)
  count(job, 'waiting', #wait / 2)
  count(job, 'queued', #back)
  return 1, job
end

local codes, jobs, dues, reply, at = {}, {}, {}, {}, 2
while at <= #ARGV do
  local told, after = groups(at)
  codes[#codes + 1], jobs[#codes + 1] = report(at, told)
  at = after
end
tell()
for i, code in ipairs(codes) do
  local job = jobs[i]
  if job and not dues[job] then dues[job] = next_due(job) end
  reply[#reply + 1], reply[#reply + 2] = code, job and dues[job] or 0
end
return reply
