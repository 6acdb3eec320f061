-- Give a fit back before its end: no death is counted, and it waits in its old place.
-- id, token, how long results are kept, then the report. Returns 'lost', 'cancelled' or 'ready'.
local id, token, kept = ARGV[1], ARGV[2], tonumber(ARGV[3])
if not holds(id, token) then return 'lost' end

write_even_when_full()
keep_report(id, report_from(4))
if redis.call('ZSCORE', CANCELLING, id) then
  end_fit(id, 'cancelled', kept)
  return 'cancelled'
end
redis.call('HDEL', FIT .. id, 'token')
make_ready(id)
return 'ready'
