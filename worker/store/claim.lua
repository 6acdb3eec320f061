-- Take a lease on the oldest waiting fit of a queue.
-- Arguments: queue, length of the lease.
-- Returns id, token, running time of earlier attempts in seconds, problem, checkpoint and losses
-- or false, id of the request or false; false if no fit waits.
local queue, lease = ARGV[1], tonumber(ARGV[2])
local id = redis.call('ZRANGE', READY .. queue, 0, 0)[1]
if not id then return false end

local fit = FIT .. id
local at = now()
redis.call('ZREM', READY .. queue, id)
redis.call('ZADD', LEASES, whole(at + lease), id)
move(id, 'running')
local token = redis.call('HINCRBY', fit, 'attempts', 1)
local elapsed, attempt = unpack(redis.call('HMGET', fit, 'elapsed', 'attempt_seconds'))
elapsed = string.format('%.6f', (elapsed or 0) + (attempt or 0))
redis.call('HSETNX', fit, 'started_at', whole(at))
redis.call('HSET', fit, 'token', token, 'elapsed', elapsed, 'attempt_seconds', 0)
local problem, checkpoint, losses = unpack(redis.call('HMGET', fit, 'problem', 'checkpoint', 'losses'))
local request = redis.call('HGET', fit, 'request_id')
return { id, tostring(token), elapsed, problem, checkpoint, losses, request }
