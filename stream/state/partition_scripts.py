"""The scripts that change a partition in Redis. `stream.state.store` says why each is one, and what its keys hold."""

from __future__ import annotations

from driftline.stream.state.fencing import NEXT_EPOCH, fenced
from driftline.stream.state.scripts import Script

# ARGV: version, newest version, newest level.
CLAIM = Script(f"""
local version = tonumber(redis.call('HGET', KEYS[1], 'version') or 0)
if version > tonumber(ARGV[2]) then return {{'newer', tostring(version)}} end
redis.call('HSET', KEYS[1], 'version', math.max(version, tonumber(ARGV[1])))
local epoch = {NEXT_EPOCH}
redis.call('HSET', KEYS[1], 'claimed', epoch .. ' ' .. ARGV[3])
return {{'ok', epoch}}
""")
# ARGV: epoch, start, end, all ends; from level 2 on 'progress' and that. A seal that is there already is written again:
# a connection can only wait for the sync of its own writes.
SEAL = fenced("""
local stored = redis.call('HMGET', KEYS[1], 'start', 'end')
local again = stored[1] == ARGV[2] and stored[2] == ARGV[3]
if stored[2] and stored[2] ~= ARGV[2] and not again then return {'mismatch', stored[2]} end
redis.call('HSET', KEYS[1], 'start', ARGV[2], 'end', ARGV[3], 'ends', ARGV[4], unpack(ARGV, 5))
return {'ok'}
""")
# ARGV: epoch, "TIME AT CAME".
NOTE_TICK = fenced("""
redis.call('HSET', KEYS[1], 'tick', ARGV[2])
return {'ok'}
""")
# KEYS: judge, models, outbox, open, told, seen, marks, refs, topics, each model and its timelines. ARGV: epoch, start,
# next, recent alerts to keep; and lists, each after its length: for alerts the message, the incident and 1 if it is
# resolved; models and when they were seen, '' for never; places and marks; models and their references; topics and what
# is known of them; and for each model its name if all its parts are replaced, part names and parts to write, part names
# to delete, then the same two of its timelines. A model without a part is forgotten.
COMMIT = fenced("""
local stored = redis.call('HGET', KEYS[1], 'next') or ''
if stored == ARGV[3] then return {'ok'} end
if stored ~= ARGV[2] then return {'mismatch', stored} end
redis.call('HSET', KEYS[1], 'next', ARGV[3])
local at = 6 + tonumber(ARGV[5])
for i = 6, at - 1, 3 do
    redis.call('RPUSH', KEYS[3], ARGV[i])
    redis.call('LPUSH', KEYS[5], ARGV[i])
    redis.call('HSET', KEYS[4], ARGV[i + 1], ARGV[i])
    if ARGV[i + 2] == '1' then redis.call('HDEL', KEYS[4], ARGV[i + 1]) end
end
if at > 6 then redis.call('LTRIM', KEYS[5], 0, ARGV[4] - 1) end
local function each(command, key, size)
    local stop = at + tonumber(ARGV[at])
    for i = at + 1, stop, size do redis.call(command, key, unpack(ARGV, i, i + size - 1)) end
    at = stop + 1
end
local stop = at + tonumber(ARGV[at])
for i = at + 1, stop, 2 do
    if ARGV[i + 1] == '' then redis.call('HDEL', KEYS[6], ARGV[i])
    else redis.call('HSET', KEYS[6], ARGV[i], ARGV[i + 1]) end
end
at = stop + 1
each('HSET', KEYS[7], 2)
each('HSET', KEYS[8], 2)
each('HSET', KEYS[9], 2)
for i = 10, #KEYS, 2 do
    local model = ARGV[at] ~= '0' and ARGV[at + 1]
    if model then redis.call('DEL', KEYS[i], KEYS[i + 1]) end
    each('SADD', KEYS[2], 1)
    for key = i, i + 1 do
        each('HSET', KEYS[key], 2)
        each('HDEL', KEYS[key], 1)
    end
    if model and redis.call('EXISTS', KEYS[i]) == 0 then redis.call('SREM', KEYS[2], model) end
end
return {'ok'}
""")
# KEYS: judge, outbox. ARGV: most alerts.
OUTBOX = Script("""
return {'ok', redis.call('HGET', KEYS[1], 'sent') or '0', unpack(redis.call('LRANGE', KEYS[2], 0, ARGV[1] - 1))}
""")
# KEYS: judge, outbox. ARGV: epoch, position. Its first write needs no memory, since publishing frees some.
PUBLISHED = fenced("""
local sent = redis.call('HGET', KEYS[1], 'sent') or '0'
local gone = tonumber(ARGV[2]) - tonumber(sent)
if gone > redis.call('LLEN', KEYS[2]) then return {'mismatch', sent} end
if gone > 0 then
    redis.call('LPOP', KEYS[2], gone)
    redis.call('HSET', KEYS[1], 'sent', ARGV[2])
end
return {'ok'}
""")

# ARGV: epoch, offset. No run is sealed there.
MOVE_SKETCH = fenced("""
redis.call('HSET', KEYS[1], 'start', ARGV[2], 'end', ARGV[2], 'ends', '')
return {'ok'}
""")
# KEYS: judge, each model. ARGV: epoch, next, each model's head.
MOVE_JUDGE = fenced("""
for i = 2, #KEYS do redis.call('HSET', KEYS[i], 'head', ARGV[i + 1]) end
redis.call('HSET', KEYS[1], 'next', ARGV[2])
return {'ok'}
""")
