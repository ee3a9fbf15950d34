-- Shared head of every partition script (the client puts it in front).
-- KEYS[1] = the partition's tag, e.g. "{f12}"; ARGV[1] = "" or a time in ms (tests, simulation).
-- Time never runs backwards: it is floored at the highest that this partition has seen.
local T = KEYS[1]
local M = T .. ':m'

local function clock()
  local now
  if ARGV[1] ~= '' then
    now = tonumber(ARGV[1])
  else
    local t = redis.call('TIME')
    now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
  end
  local hi = tonumber(redis.call('HGET', M, 'hi') or '0')
  if now > hi then redis.call('HSET', M, 'hi', string.format('%.0f', now)) else now = hi end
  return now
end

local function ms(x) return string.format('%.0f', x) end

-- entry = attempts \t losses \t fp \t class \t reason \t payload
local function fields(entry)
  return string.match(entry, '^(%d+)\t(%d+)\t(%d+)\t(%d)\t([^\t]*)\t(.*)$')
end

local function queue(job, class, host) return T .. ':q:' .. job .. ':' .. class .. ':' .. host end

local function queued(job, host)
  return redis.call('LLEN', queue(job, '0', host)) + redis.call('LLEN', queue(job, '1', host))
    + redis.call('LLEN', queue(job, '2', host))
end

-- Put entries back at the head of their queues, in their order; lost adds to their losses.
local function put_back(job, host, entries, lost)
  for i = #entries, 1, -1 do
    local attempts, losses, fp, class, reason, payload = fields(entries[i])
    local entry = table.concat({attempts, ms(tonumber(losses) + lost), fp, class, reason, payload}, '\t')
    redis.call('LPUSH', queue(job, class, host), entry)
  end
end

local function count(job, field, n)
  if n ~= 0 then redis.call('HINCRBY', T .. ':c:' .. job, field, ms(n)) end
end

-- ms until a job's earliest host or retry in this partition; -1: there is none
local function next_due(job, now)
  local best = -1
  for _, key in ipairs({T .. ':r:' .. job, T .. ':w:' .. job}) do
    local first = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
    if first[2] then
      local wait = math.max(0, tonumber(first[2]) - now)
      if best < 0 or wait < best then best = wait end
    end
  end
  return best
end
