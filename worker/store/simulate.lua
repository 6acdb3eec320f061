-- Queue a simulation.
-- Arguments: id, request (JSON), maximum number of waiting simulations, how long a worker counts as live after its last
-- heartbeat, seconds to keep the request.
-- Returns 'queued', 'full' or 'no_worker'.
local id, request, limit, life, kept = unpack(ARGV)
if redis.call('ZCOUNT', WORKERS, whole(now() - life), '+inf') == 0 then return 'no_worker' end
if redis.call('LLEN', SIMULATIONS) >= tonumber(limit) then return 'full' end
redis.call('SET', SIMULATION .. id, request, 'EX', kept)
redis.call('RPUSH', SIMULATIONS, id)
return 'queued'
