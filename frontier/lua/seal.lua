#!lua flags=allow-oom
-- Close a segment against further URLs.
-- ARGV: now, segment
-- Returns: {1, {fp, ...}} the URLs pending on it here: these become rows; {0, {}} when recovery
--          has given it up. Again after a success: the same answer.
-- Keeps 6 (one row per visit): a URL that was requeued elsewhere is no longer pending here, and one
-- that has its row is struck off. One without URLs here is closed too, or a late report would put
-- some on it that never become rows.
-- Needs: struck
local G, segment = T .. ':g', ARGV[2]
local P, state = T .. ':p:' .. segment, redis.call('HGET', G, segment) or 'o\n'
if string.sub(state, 1, 1) == 'x' then return {0, {}} end
redis.call('HSET', G, segment, 's' .. string.sub(state, 2))
local fps, keep = redis.call('HKEYS', P), {}
local off = struck(string.sub(state, 3), fps, 'pending')
for i, fp in ipairs(fps) do
  if off[i] then redis.call('HDEL', P, fp) else keep[#keep + 1] = fp end
end
tell()
return {1, keep}
