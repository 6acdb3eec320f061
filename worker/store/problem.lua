-- The problem of a fit, as it was accepted. id
if not exists(ARGV[1]) then return false end
return redis.call('HGET', FIT .. ARGV[1], 'problem')
