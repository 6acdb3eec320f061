-- Record that a worker process is live.
-- Arguments: its name, '1' if it serves the GPU queue, how long it counts as live, length of a turn to sweep in
-- milliseconds, its memory in bytes.
-- Returns 1 if it is its turn to sweep.
local name, gpu, life, turn, memory = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]
local at = now()
write_even_when_full()
redis.call('ZADD', WORKERS, whole(at), name)
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', WORKERS, '-inf', whole(at - life))) do
  redis.call('ZREM', WORKERS, gone)
  redis.call('HDEL', WORKER_MEMORY, gone)
end
redis.call('HSET', WORKER_MEMORY, name, memory)
if gpu == '1' then redis.call('HSET', GPU_WATCH, 'seen', whole(at)) end
return redis.call('SET', SWEEP_TURN, name, 'NX', 'PX', turn) and 1 or 0
