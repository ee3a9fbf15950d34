-- Enters documents under their bands and text digests, and tells who is there.
-- KEYS[1] root of the part that has these fields. ARGV: pairs of field and document's number in the
-- whole index. Returns for each pair the numbers of the others, comma-separated.
-- Invariant: who enters later sees who entered before; entering again changes nothing.
local out = {}
for i = 1, #ARGV, 2 do
  local field, me, others, there = ARGV[i], ARGV[i + 1], {}, false
  local value = get(field)
  for doc in string.gmatch(value or "", "%d+") do
    if doc == me then there = true else others[#others + 1] = doc end
  end
  if not there then extend(field, value, me) end
  out[#out + 1] = table.concat(others, ",")
  balance()
end
save()
return out
