-- Queue a simulation, and wake the idle process that worked last.
-- Arguments: id, task (JSON), channel on which its caller listens, maximum number of waiting simulations, how long a
-- worker counts as live after its last heartbeat, seconds to keep the task.
-- Returns 'queued', 'full' or 'no_worker'.
transient()
local id, task, channel, limit, life, kept = unpack(ARGV)
if redis.call('ZCOUNT', WORKERS, whole(now() - life), '+inf') == 0 then return 'no_worker' end
if redis.call('LLEN', SIMULATIONS) >= tonumber(limit) then return 'full' end
redis.call('HSET', SIMULATION .. id, 'task', task, 'channel', channel)
redis.call('EXPIRE', SIMULATION .. id, kept)
redis.call('RPUSH', SIMULATIONS, id)
local idle
repeat
  idle = redis.call('ZPOPMAX', IDLE_SIMULATORS)[1]
until not idle or redis.call('PUBLISH', idle, id) > 0  -- nobody listens to the channel of a process that has ended
return 'queued'
