-- Answer a simulation, and tell its caller; nothing happens if the caller has gone away.
-- Arguments: id, answer, seconds to keep it.
transient()
local id, answer, kept = unpack(ARGV)
local channel = redis.call('HGET', SIMULATION .. id, 'channel')
if not channel then return end
redis.call('DEL', SIMULATION .. id)  -- first, so that the answer is not refused when the memory is full
redis.call('SET', SIMULATED .. id, answer, 'EX', kept)
redis.call('PUBLISH', channel, id)
