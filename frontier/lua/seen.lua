-- Whether a job has seen URLs.
-- ARGV: now, job, then fingerprints
-- Returns: one digit per fingerprint (1: seen)
-- Changes nothing.
-- Needs: seen
local fps, out = {}, {}
for i = 3, #ARGV do fps[#fps + 1] = ARGV[i] end
local known = seen_set(ARGV[2]).known(fps)
for i, fp in ipairs(fps) do out[i] = known[fp] and '1' or '0' end
return table.concat(out)
