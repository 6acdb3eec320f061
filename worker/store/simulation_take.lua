-- Take the answer to a simulation.
-- Arguments: id.
-- Returns whether the simulation waits or runs (1 or 0), and the answer or false.
transient()
local id = ARGV[1]
local answer = redis.call('GET', SIMULATED .. id)
redis.call('DEL', SIMULATED .. id)
return { redis.call('EXISTS', SIMULATION .. id), answer }
