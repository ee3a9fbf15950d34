-- Shared head of every partition script (the client puts it in front).
-- KEYS[1] = {f<p>}:m; ARGV[1] = "" or a time in ms (tests, simulation).
-- Time never runs backwards: it is floored at the highest that this partition has seen. Where that
-- record is missing the partition's state is gone, and nothing is made in its place.
local M = KEYS[1]
local T = string.sub(M, 1, -3)
local function ms(x) return string.format('%.0f', x) end

local high, longest = unpack(redis.call('HMGET', M, 'hi', 'ttl'))
longest = tonumber(longest or 0) -- lease, ms
if not high then return redis.error_reply('AWAY partition ' .. T .. ' has lost its state') end
local now = tonumber(ARGV[1])
if not now then
  local t = redis.call('TIME')
  now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
  -- Who holds a host renews it each quarter of its lease: it is the server that was away.
  if longest > 0 and now - tonumber(high) > longest / 2 then redis.call('HSET', M, 'back', ms(now)) end
end
if now > tonumber(high) then redis.call('HSET', M, 'hi', ms(now)) else now = tonumber(high) end

-- entry = attempts \t losses \t fp \t class \t reason \t payload
local function fields(entry)
  return string.match(entry, '^(%d+)\t(%d+)\t(%d+)\t(%d)\t([^\t]*)\t(.*)$')
end

local function queue(job, class, host) return T .. ':q:' .. job .. ':' .. class .. ':' .. host end

-- Entries that stand in one string, `entry LF` each, in their order
local function split(blob)
  local out, at = {}, 1
  while blob and at <= #blob do
    local stop = string.find(blob, '\n', at, true)
    out[#out + 1], at = string.sub(blob, at, stop - 1), stop + 1
  end
  return out
end

local function join(entries) return table.concat(entries, '\n') .. '\n' end

local function fingerprint(entry) return string.match(entry, '^%d+\t%d+\t(%d+)') end

-- Pending URLs of one lease that ended alike stand together, under a name that no others have.
local function heading(token, entry, n, reason)
  return table.concat({token, fingerprint(entry), n, reason}, '\t')
end

local function size(group) return tonumber(string.match(group, '^%d+\t%d*\t(%d+)')) end

local function pending(segment)
  local n = 0
  for _, group in ipairs(redis.call('HKEYS', T .. ':p:' .. segment)) do n = n + size(group) end
  return n
end

-- URLs of classes 0 to `last` in a host's queues
local function queued(job, host, last)
  local n = 0
  for class = 0, last or 3 do n = n + redis.call('LLEN', queue(job, class, host)) end
  return n
end

-- Whether a host has URLs of classes 0 to 2 in its queues
local function lively(job, host)
  return redis.call('EXISTS', queue(job, 2, host), queue(job, 1, host), queue(job, 0, host)) > 0
end

-- Put entries back at the head of their queues, in their order; lost adds to their losses.
local function put_back(job, host, entries, lost)
  for i = #entries, 1, -1 do
    local entry, class = entries[i], string.match(entries[i], '^%d+\t%d+\t%d+\t(%d)')
    if lost > 0 then
      local attempts, losses, fp, _, reason, payload = fields(entry)
      entry = table.concat({attempts, ms(tonumber(losses) + lost), fp, class, reason, payload}, '\t')
    end
    redis.call('LPUSH', queue(job, class, host), entry)
  end
end

-- Spilled URLs of a host by class, {n0, n1, n2, n3}; nil when it has none
local spills = {} -- job -> whether it has spilled URLs at all
local function spilled(job, host)
  if spills[job] == nil then spills[job] = redis.call('EXISTS', T .. ':v:' .. job) == 1 end
  if not spills[job] then return nil end
  local n = redis.call('HMGET', T .. ':v:' .. job, '0\n' .. host, '1\n' .. host, '2\n' .. host, '3\n' .. host)
  if n[1] or n[2] or n[3] or n[4] then
    return {tonumber(n[1] or 0), tonumber(n[2] or 0), tonumber(n[3] or 0), tonumber(n[4] or 0)}
  end
end

local lists = {} -- key of a list of hosts -> whether it may exist
local function unlist(key, host)
  if lists[key] == nil then lists[key] = redis.call('EXISTS', key) == 1 end
  if lists[key] then redis.call('ZREM', key, host) end
end

-- Put a host where lease looks for it: with URLs of classes 0 to 2 among the ready, with slow ones
-- alone among the slow, else nowhere. mode: nil set, 'NX' where it is not there, 'LT' only earlier.
local function expect(job, host, t, mode)
  local R, S = T .. ':r:' .. job, T .. ':rs:' .. job
  local away = spilled(job, host)
  local to, from
  if lively(job, host) or away and away[1] + away[2] + away[3] > 0 then
    to, from = R, S
  elseif away or redis.call('EXISTS', queue(job, 3, host)) == 1 then
    to, from = S, R
  else
    unlist(R, host)
    unlist(S, host)
    return
  end
  if mode then
    redis.call('ZADD', to, mode, ms(t), host)
  else
    redis.call('ZADD', to, ms(t), host)
  end
  lists[to] = true
  unlist(from, host)
end

-- Tokens begin at the time, or those from before a loss of all state would come again: in 16ths of a
-- ms, which is faster than hosts are leased and stays under 2^46 for another century.
local function first_token() return 16 * now end

local function new_token()
  local token = redis.call('HINCRBY', M, 'tok', 1)
  if token > 1 then return token end
  redis.call('HSET', M, 'tok', ms(first_token()))
  return first_token()
end

-- Counters are added up and written at the end of a script, by tell().
local sums = {}
local function count(job, field, n)
  if not sums[job] then sums[job] = {} end
  sums[job][field] = (sums[job][field] or 0) + n
end

local function tell()
  for job, fs in pairs(sums) do
    for field, n in pairs(fs) do
      if n ~= 0 then redis.call('HINCRBY', T .. ':c:' .. job, field, ms(n)) end
    end
  end
end

-- ms until a job's earliest host or retry in this partition; -1: there is none
local function next_due(job)
  local best = -1
  for _, kind in ipairs({':r:', ':w:', ':rs:'}) do
    local first = redis.call('ZRANGE', T .. kind .. job, 0, 0, 'WITHSCORES')
    if first[2] then
      local wait = math.max(0, tonumber(first[2]) - now)
      if best < 0 or wait < best then best = wait end
    end
  end
  return best
end

-- A flat reply of HGETALL as a table
local function flat(reply)
  local out = {}
  for i = 1, #reply, 2 do out[reply[i]] = reply[i + 1] end
  return out
end
