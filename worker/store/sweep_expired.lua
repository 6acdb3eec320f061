-- Remove expired fits and batches.
-- Arguments: maximum number of each.
-- Returns their number.
local expired = redis.call('ZRANGEBYSCORE', EXPIRIES, '-inf', whole(now()), 'LIMIT', 0, ARGV[1])
for _, id in ipairs(expired) do remove(id) end
local batches = redis.call('ZRANGEBYSCORE', BATCH_EXPIRIES, '-inf', whole(now()), 'LIMIT', 0, ARGV[1])
for _, id in ipairs(batches) do remove_batch(id) end
return #expired + #batches
