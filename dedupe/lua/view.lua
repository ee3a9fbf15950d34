-- Shows records to those that found them as candidates.
-- KEYS[1] root of the part. ARGV: pairs of document number and 1: challenge it, if it is tentative,
-- so that it looks again before it is kept.
-- Returns for each: the record, and a byte that is 1 when its segment is committed; "": gone.
-- Invariant: a challenged document is kept only after another look.
local out = {}
for i = 1, #ARGV, 2 do
  local doc = tonumber(ARGV[i])
  local found = record(doc)
  if #found < RECORD or string.sub(found, 1, 16) == GONE then
    found = ""
  else
    if ARGV[i + 1] == "1" and string.sub(found, 29, 29) == "t" then
      store(doc, string.sub(found, 1, 28) .. "c" .. string.sub(found, 30))
    end
    found = found .. string.char(committed(found))
  end
  out[#out + 1] = found
end
return out
