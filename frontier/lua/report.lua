#!lua flags=allow-oom
-- Say what became of leases' URLs and, with free, give the hosts back.
-- ARGV: now, then per lease: host, token, free (1|0), ms until the host may be contacted, delay ms,
--       state, blocked reason, groups, and per group: action (p|w|r), segment, reason, wait ms, n, n
--       fingerprints
--       p pending on segment (reason "" done, else dropped); w waits; r returns to its queue
-- Returns: 2 per lease: {1, ms until the job's next host}, {0, 0} when the token is stale, {-1, 0}
--          when a segment is fenced (sealed or given up by recovery)
-- Keeps 3 (a stale token changes nothing), 4 (in exactly one place) and 5 (nothing is done here:
-- settle is). Checks come before the first write; a URL reported twice counts once.
local G = T .. ':g'

-- What a lease's holder says of its URLs, and where the next lease begins
local function groups(at)
  local out, i = {}, at + 8
  for g = 1, ARGV[at + 7] do
    local last = i + 4 + ARGV[i + 4]
    out[g] = {action = ARGV[i], segment = ARGV[i + 1], reason = ARGV[i + 2], wait = ARGV[i + 3], first = i + 5, last = last}
    i = last + 1
  end
  return out, i
end

local states = {} -- segment -> its state, false for none
local function fenced(told)
  for _, group in ipairs(told) do
    local segment = group.segment
    if group.action == 'p' then
      if states[segment] == nil then states[segment] = redis.call('HGET', G, segment) end
      if states[segment] and string.sub(states[segment], 1, 1) ~= 'o' then return true end
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

-- Put entries on a segment; one that is pending there already (forced in once more) is another.
local forced = {} -- job -> whether URLs were ever forced in
local function put_pending(segment, into, job, token)
  local P = T .. ':p:' .. segment
  if forced[job] == nil then forced[job] = redis.call('HEXISTS', T .. ':c:' .. job, 'forced') == 1 end
  if forced[job] then
    for i = 1, #into, 2 do
      if redis.call('HEXISTS', P, into[i]) == 1 then into[i] = into[i] .. '+' .. token end
    end
  end
  redis.call('HSET', P, unpack(into))
  if not states[segment] then
    states[segment] = 'o\n' .. job
    redis.call('HSET', G, segment, states[segment])
  end
  return #into / 2
end

-- Where each entry goes: what returns, waits, is pending by segment, and what is still out.
local function sort(job, host, told, entries)
  local back, wait, pending, left, by, fps = {}, {}, {}, {}, {}, {}
  for i = 1, #entries do
    fps[i] = string.match(entries[i], '^%d+\t%d+\t(%d+)')
    by[fps[i]] = entries[i]
  end
  for _, group in ipairs(told) do
    local action, head, into = group.action, group.reason .. '\n' .. host .. '\n', pending[group.segment] or {}
    if action == 'p' then pending[group.segment] = into end
    for i = group.first, group.last do
      local fp = ARGV[i]
      local entry = by[fp]
      by[fp] = nil
      if not entry then
      elseif action == 'p' then
        into[#into + 1] = fp
        into[#into + 1] = head .. entry
      elseif action == 'w' then
        wait[#wait + 1] = ms(now + tonumber(group.wait))
        wait[#wait + 1] = waiter(job, host, entry, group.reason)
      else
        back[#back + 1] = entry
      end
    end
  end
  for i = 1, #entries do
    if by[fps[i]] then left[#left + 1] = entries[i] end
  end
  return back, wait, pending, left
end

local function give_back(host, job, t, h)
  redis.call('HDEL', T .. ':h:' .. host, 'k', 'j', 'w', 'x')
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
  local h = redis.call('HMGET', H, 'k', 'j', 't', 'line')
  if h[1] ~= token then return 0 end
  if fenced(told) then return -1 end
  local job, entries = h[2], leased(host)
  local back, wait, pending, left = sort(job, host, told, entries)
  local moved = 0
  for segment, into in pairs(pending) do
    if #into > 0 then moved = moved + put_pending(segment, into, job, token) end
  end
  if #wait > 0 then redis.call('ZADD', T .. ':w:' .. job, unpack(wait)) end
  if free then
    for _, entry in ipairs(left) do back[#back + 1] = entry end
    left = {}
  end
  put_back(job, host, back, 0)
  if #left > 0 then put_leased(host, left) else redis.call('DEL', U) end
  local t = math.max(tonumber(h[3] or '0'), now + tonumber(ARGV[at + 3]))
  redis.call('HSET', H, 't', ms(t), 'd', ARGV[at + 4], 's', ARGV[at + 5], 'b', ARGV[at + 6])
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
