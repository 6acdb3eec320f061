-- Remove a simulation whose caller has gone away; a process that runs it stops.
-- Arguments: id.
transient()
local id = ARGV[1]
redis.call('DEL', SIMULATION .. id, SIMULATED .. id)
redis.call('LREM', SIMULATIONS, 1, id)
