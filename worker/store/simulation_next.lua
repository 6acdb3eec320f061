-- Take the oldest simulation whose caller still waits.
-- Arguments: channel on which the process listens for the next one if there is none.
-- Returns id and task; false if there is none.
transient()
local channel = ARGV[1]
while true do
  local id = redis.call('LPOP', SIMULATIONS)
  if not id then
    redis.call('ZADD', IDLE_SIMULATORS, 'NX', whole(now()), channel)
    return false
  end
  local task = redis.call('HGET', SIMULATION .. id, 'task')
  if task then
    redis.call('ZREM', IDLE_SIMULATORS, channel)
    return { id, task }
  end
end
