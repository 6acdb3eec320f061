-- Handle lapsed leases, whose workers are gone.
-- Arguments: maximum number of deaths, how long results are kept, the error of fits with more, maximum number of fits.
-- Returns ids and queues of the fits that wait again, the ids that failed, the ids that were cancelled.
local max_deaths, kept, failure, batch = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3], ARGV[4]
local again, failed, cancelled = {}, {}, {}

local lapsed = redis.call('ZRANGEBYSCORE', LEASES, '-inf', whole(now()), 'LIMIT', 0, batch)
for _, id in ipairs(lapsed) do
  write_even_when_full()
  if redis.call('ZSCORE', CANCELLING, id) then
    end_fit(id, 'cancelled', kept)
    cancelled[#cancelled + 1] = id
  elseif redis.call('HINCRBY', FIT .. id, 'deaths', 1) >= max_deaths then
    end_fit(id, 'failed', kept, '', failure)
    failed[#failed + 1] = id
  else
    again[#again + 1] = { id, make_ready(id) }
  end
end
return { again, failed, cancelled }
