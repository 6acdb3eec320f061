-- Record that a worker process is live.
-- Arguments: its name, '1' if it serves the GPU queue, how long it counts as live, length of a turn to sweep in
-- milliseconds.
-- Returns 1 if it is its turn to sweep.
local name, gpu, life, turn = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local at = now()
write_even_when_full()
redis.call('ZADD', WORKERS, whole(at), name)
redis.call('ZREMRANGEBYSCORE', WORKERS, '-inf', whole(at - life))
if gpu == '1' then redis.call('HSET', GPU_WATCH, 'seen', whole(at)) end
return redis.call('SET', SWEEP_TURN, name, 'NX', 'PX', turn) and 1 or 0
