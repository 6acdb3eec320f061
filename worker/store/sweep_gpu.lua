-- Fail fits that wait for a GPU if no GPU worker has been live for some time.
-- Arguments: the time, how long results are kept, the error, maximum number of fits.
-- Returns their ids.
local wait, kept, failure, batch = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])
local at = now()
local since, last, seen = unpack(redis.call('HMGET', GPU_WATCH, 'since', 'last', 'seen'))
write_even_when_full()
-- While all workers were down nobody watched: after a restart the fits wait the full time again.
if not last or at - tonumber(last) > wait / 2 then since = whole(at) end
redis.call('HSET', GPU_WATCH, 'since', since, 'last', whole(at))

local failed = {}
if at - math.max(tonumber(since), tonumber(seen or 0)) > wait then
  failed = redis.call('ZRANGE', READY .. 'gpu', 0, batch - 1)
  for _, id in ipairs(failed) do end_fit(id, 'failed', kept, '', failure) end
end
return failed
