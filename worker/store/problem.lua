-- The problem of a fit, as accepted.
-- Arguments: id.
if not exists(ARGV[1]) then return false end
return redis.call('HGET', FIT .. ARGV[1], 'problem')
