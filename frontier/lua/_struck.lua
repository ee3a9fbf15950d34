-- URLs that have their rows though this server has lost how they ended (reconcile.lua): they are struck
-- off wherever they turn up, and counted as finished.
local rows = {} -- job -> whether it has such URLs here

local function has_rows(job)
  if rows[job] == nil then rows[job] = redis.call('EXISTS', T .. ':x:' .. job) == 1 end
  return rows[job]
end

-- Which of these fingerprints are struck off now, as a list like theirs; `part` had them.
local function struck(job, fps, part)
  local X, out, gone = T .. ':x:' .. job, {}, {}
  if not has_rows(job) then return out end
  for first = 1, #fps, 500 do
    local found = redis.call('HMGET', X, unpack(fps, first, math.min(first + 499, #fps)))
    for i, reason in ipairs(found) do
      out[first + i - 1] = reason ~= false
      if reason then
        gone[#gone + 1] = fps[first + i - 1]
        count(job, reason == '' and 'done' or 'd:' .. reason, 1)
      end
    end
  end
  for first = 1, #gone, 500 do redis.call('HDEL', X, unpack(gone, first, math.min(first + 499, #gone))) end
  count(job, part, -#gone)
  count(job, 'finished', #gone)
  return out
end

-- What is left of entries, when those are struck off; `part` had them (the queues, unless it is said).
local function unstruck(job, entries, part)
  if not has_rows(job) then return entries end
  local fps, left = {}, {}
  for i, entry in ipairs(entries) do fps[i] = fingerprint(entry) end
  local off = struck(job, fps, part or 'queued')
  for i, entry in ipairs(entries) do
    if not off[i] then left[#left + 1] = entry end
  end
  return left
end
