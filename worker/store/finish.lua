-- End a fit, under the token of its attempt.
-- Arguments: id, token, status, how long results are kept, result, error, progress (each of the last three may be ''),
-- then the trace, and the seconds by kind of stage (JSON) or ''.
-- Returns 1 if this call, or the same call before it, ended the fit.
local id, token, status, kept, result, failure, progress = unpack(ARGV)
if holds(id, token) then
  write_even_when_full()
  save_trace(id, trace_from(8))
  end_fit(id, status, tonumber(kept), result, failure, progress, ARGV[11])
  return 1
end
local now_status, now_token = unpack(redis.call('HMGET', FIT .. id, 'status', 'token'))
return (now_status == status and now_token == token) and 1 or 0
