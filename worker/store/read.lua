-- One fit.
-- Arguments: id, '1' for a fit with its result.
if not exists(ARGV[1]) then return false end
return record(ARGV[1], ARGV[2] == '1')
