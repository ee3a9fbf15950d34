-- Ends the time in which documents are tentative: compare-and-set.
-- KEYS[1] root of the part. ARGV: triples of document number, payload digest 8, and state (k kept,
-- d another's copy, x a copy that is dropped: no record is left).
-- Returns for each: 1 it is so, 0 it was challenged and must look again.
-- Invariant: from tentative to kept there is no way past a challenge.
local out = {}
for i = 1, #ARGV, 3 do
  local doc, state, done = tonumber(ARGV[i]), ARGV[i + 2], 1
  local found = record(doc)
  local now = string.sub(found, 29, 29)
  if #found < RECORD or string.sub(found, 1, 16) == GONE then
    done = 1 -- its segment was given up meanwhile
  elseif state == "x" then
    erase(doc)
    drop("p" .. ARGV[i + 1])
  elseif now ~= "k" or state ~= "k" then
    if now == "c" and state == "k" then state, done = "t", 0 end
    store(doc, string.sub(found, 1, 28) .. state .. string.sub(found, 30))
  end
  out[#out + 1] = done
end
save()
return out
