-- Deal with fits whose worker is gone: leases that lapsed, and cancellations that nobody followed.
-- most deaths, how long results are kept, how long a cancellation may take, the error of a fit whose workers all
-- died, most fits at once
-- Returns the ids and queues of those that wait again, the ids that failed, the ids that were cancelled.
local max_deaths, kept, patience, failure, batch = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4], ARGV[5]
local at = now()
local again, failed, cancelled = {}, {}, {}

local overdue = redis.call('ZRANGEBYSCORE', CANCELLING, '-inf', whole(at - patience), 'LIMIT', 0, batch)
for _, id in ipairs(overdue) do
  end_fit(id, 'cancelled', kept, partial_as_cancelled(id))
  cancelled[#cancelled + 1] = id
end

local lapsed = redis.call('ZRANGEBYSCORE', LEASES, '-inf', whole(at), 'LIMIT', 0, batch)
for _, id in ipairs(lapsed) do
  write_even_when_full()
  if redis.call('ZSCORE', CANCELLING, id) then
    end_fit(id, 'cancelled', kept, partial_as_cancelled(id))
    cancelled[#cancelled + 1] = id
  elseif redis.call('HINCRBY', FIT .. id, 'deaths', 1) >= max_deaths then
    end_fit(id, 'failed', kept, partial_result(id), failure)
    failed[#failed + 1] = id
  else
    again[#again + 1] = { id, make_ready(id) }
  end
end
return { again, failed, cancelled }
