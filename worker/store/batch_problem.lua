-- The problem of a batch, as accepted.
-- Arguments: id.
if not batch_exists(ARGV[1]) then return false end
return redis.call('HGET', BATCH .. ARGV[1], 'problem')
