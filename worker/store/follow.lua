-- What listeners to a fit see.
-- Arguments: id.
-- Returns status, progress, best values, losses and outcome, each false if there is none; false if there is no such fit.
local id = ARGV[1]
if not exists(id) then return false end
return redis.call('HMGET', FIT .. id, 'status', 'progress', 'best', 'losses', 'outcome')
