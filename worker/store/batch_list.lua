-- A page of batches, newest first.
-- Arguments: owner or '', maximum number, cursor (a sequence number) or ''.
-- Returns the batches, and the cursor of the next page or ''.
local owner, limit, cursor = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local upper = cursor == '' and '+inf' or '(' .. cursor
local found = redis.call('ZREVRANGEBYSCORE', BATCH_INDEX .. owner, upper, '-inf', 'WITHSCORES', 'LIMIT', 0, limit + 1)
local batches = {}
for i = 1, math.min(#found, 2 * limit), 2 do
  if not has_expired(BATCH .. found[i]) then batches[#batches + 1] = batch_record(found[i]) end
end
return { batches, #found > 2 * limit and found[2 * limit] or '' }
