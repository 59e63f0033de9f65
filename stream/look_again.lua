#!lua
-- Makes accounts due at once. KEYS: due, then the state key of each account; ARGV: their ids.
-- Accounts without a state are left out: their owner would make new ones of them.
for i, id in ipairs(ARGV) do
  if redis.call('EXISTS', KEYS[i + 1]) == 1 then redis.call('ZADD', KEYS[1], 0, id) end
end
