#!lua flags=allow-oom
-- Close a segment against further URLs.
-- ARGV: now, segment
-- Returns: {1, {blob, ...}} the URLs pending on it here, `host LF` and `entry LF` each: these become
--          rows; {0, {}} when recovery has given it up. Again after a success: the same answer.
-- Keeps 6 (one row per visit): a URL that was requeued elsewhere is no longer pending here, and one
-- that has its row is struck off. One without URLs here is closed too, and ended at once, or a late
-- report would put some on it that never become rows.
-- Needs: struck, ended
local G, segment = T .. ':g', ARGV[2]
local P, state = T .. ':p:' .. segment, redis.call('HGET', G, segment) or 'o\n'
local mark, job = string.sub(state, 1, 1), string.sub(state, 3)
if mark == 'x' then return {0, {}} end
if mark == 'd' then return {1, {}} end
redis.call('HSET', G, segment, 's\n' .. job)
if has_rows(job) then
  local groups = redis.call('HGETALL', P)
  for i = 1, #groups, 2 do
    local host, blob = string.match(groups[i + 1], '^([^\n]*)\n(.*)$')
    local entries = split(blob)
    local left = unstruck(job, entries, 'pending')
    if #left < #entries then
      local token, reason = string.match(groups[i], '^(%d+)\t.*\t([^\t]*)$')
      redis.call('HDEL', P, groups[i])
      if #left > 0 then redis.call('HSET', P, heading(token, left[1], #left, reason), host .. '\n' .. join(left)) end
    end
  end
  tell()
end
local held = redis.call('HVALS', P)
if #held == 0 then ended(segment, 'd', job) end
return {1, held}
