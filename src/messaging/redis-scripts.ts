import type { RedisLink } from '../redis/redis.ts'

// What Redis holds of messages. Both keys of one person are in one slot:
//   <prefix>:inbox:{USER}  hash: '#' how many are kept; ID → "OWNER,STATE,ENDS SEALED". OWNER is the life that sends it, ''
//                          for none; STATE is s while it is sent for the first time, k when it is kept
//   <prefix>:said:{USER}   hash: KEY → "AT CSEQ STATUS" of the requests of the last minutes

const parts = `
local function parts(value) return string.match(value, '^([^,]*),(%a),(%d+) (.*)$') end
local function count(by)
  local kept = redis.call('HINCRBY', KEYS[1], '#', by)
  if kept <= 0 then redis.call('HDEL', KEYS[1], '#') end
  return math.max(kept, 0)
end
local function prune(now)
  local all, kept = redis.call('HGETALL', KEYS[1]), 0
  for at = 1, #all, 2 do
    if all[at] ~= '#' then
      local owner, state, ends = parts(all[at + 1])
      if state == 'k' and owner == '' and tonumber(ends) <= tonumber(now) then redis.call('HDEL', KEYS[1], all[at])
      elseif state == 'k' then kept = kept + 1 end
    end
  end
  if kept > 0 then redis.call('HSET', KEYS[1], '#', kept) else redis.call('HDEL', KEYS[1], '#') end
  return kept
end`

const hold = `${parts}
local id, value, state, key, cseq, now, most, ttl, remember, remembered, again = unpack(ARGV)
local said = redis.call('HGET', KEYS[2], key)
if said and again == '' then
  local at, before, status = string.match(said, '^(%d+) (%d+) (%d+)$')
  if tonumber(at) > now - remember and (before == cseq or status == '0') then return { 'known', status } end
end
local kept = tonumber(redis.call('HGET', KEYS[1], '#') or '0')
if redis.call('HEXISTS', KEYS[1], id) == 1 then return { 'held', tostring(kept) } end
if state == 'k' then
  if kept >= tonumber(most) and prune(now) >= tonumber(most) then return { 'full', '0' } end
  kept = count(1)
end
redis.call('HSET', KEYS[1], id, value)
if redis.call('PTTL', KEYS[1]) < tonumber(ttl) then redis.call('PEXPIRE', KEYS[1], ttl) end
redis.call('HSET', KEYS[2], key, now .. ' ' .. cseq .. ' ' .. (state == 'k' and '202' or '0'))
redis.call('PEXPIRE', KEYS[2], remember)
if redis.call('HLEN', KEYS[2]) > tonumber(remembered) then
  local all, times = redis.call('HGETALL', KEYS[2]), {}
  for at = 2, #all, 2 do times[#times + 1] = tonumber(string.match(all[at], '^%d+')) end
  table.sort(times)
  local oldest = times[math.floor(#times / 4) + 1]
  for at = 2, #all, 2 do
    if tonumber(string.match(all[at], '^%d+')) < oldest then redis.call('HDEL', KEYS[2], all[at - 1]) end
  end
end
return { 'held', tostring(kept) }`

const settle = `${parts}
local id, life, how, key, status, most, now, remember = unpack(ARGV)
local value = redis.call('HGET', KEYS[1], id)
if not value then return { -1, 0 } end
local owner, state, ends, sealed = parts(value)
if owner ~= life then return { -1, 0 } end
local kept = tonumber(redis.call('HGET', KEYS[1], '#') or '0')
local room = how == 'end' or state == 'k' or kept < tonumber(most)
local said = redis.call('HGET', KEYS[2], key)
if said or state == 'k' then
  redis.call('HSET', KEYS[2], key, (said and string.match(said, '^%d+ %d+ ') or now .. ' 0 ') .. (room and status or '480'))
  redis.call('PEXPIRE', KEYS[2], remember)
end
if how == 'leave' and room then
  redis.call('HSET', KEYS[1], id, ',k,' .. ends .. ' ' .. sealed)
  if state == 's' then kept = count(1) end
  return { kept, 1 }
end
redis.call('HDEL', KEYS[1], id)
if state == 'k' then kept = count(-1) end
if not room then return { -2, 0 } end
return { kept, state == 'k' and 1 or 0 }`

// Redis may have done what it did not answer in time.
const withdraw = `${parts}
local value = redis.call('HGET', KEYS[1], ARGV[1])
if value then
  local _, state = parts(value)
  redis.call('HDEL', KEYS[1], ARGV[1])
  if state == 'k' then count(-1) end
end
local said = redis.call('HGET', KEYS[2], ARGV[2])
if said and string.sub(said, 1, #ARGV[3]) == ARGV[3] then redis.call('HDEL', KEYS[2], ARGV[2]) end
return tonumber(redis.call('HGET', KEYS[1], '#') or '0')`

const lookUp = `
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 1 then return 'kept' end
local status = string.match(redis.call('HGET', KEYS[2], ARGV[2]) or '', '(%d+)$')
if status and status ~= '0' and status ~= '202' then return 'arrived' end
return 'unknown'`

const note = `${parts}
local value = redis.call('HGET', KEYS[1], ARGV[1])
if not value then return 0 end
local owner, state, ends = parts(value)
if owner ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], owner .. ',' .. state .. ',' .. ends .. ' ' .. ARGV[3])
return 1`

// While another life sends something of this person, whatever is kept comes after that.
const take = `${parts}
local life, after, most, now = unpack(ARGV)
local kept = prune(now)
local all, ids, values = redis.call('HGETALL', KEYS[1]), {}, {}
for at = 1, #all, 2 do
  if all[at] ~= '#' then
    local owner = parts(all[at + 1])
    if owner ~= '' and owner ~= life then return { 'busy', '0' } end
    if owner == '' and all[at] > after then
      ids[#ids + 1] = all[at]
      values[all[at]] = all[at + 1]
    end
  end
end
table.sort(ids)
local taken = { 'taken', tostring(kept) }
for at = 1, math.min(#ids, tonumber(most)) do
  local _, state, ends, sealed = parts(values[ids[at]])
  redis.call('HSET', KEYS[1], ids[at], life .. ',' .. state .. ',' .. ends .. ' ' .. sealed)
  taken[#taken + 1] = ids[at]
  taken[#taken + 1] = sealed
end
return taken`

const adopt = `${parts}
local all, adopted, fresh = redis.call('HGETALL', KEYS[1]), 0, 0
for at = 1, #all, 2 do
  if all[at] ~= '#' then
    local owner, state, ends, sealed = parts(all[at + 1])
    if owner == ARGV[1] then
      redis.call('HSET', KEYS[1], all[at], ',k,' .. ends .. ' ' .. sealed)
      adopted = adopted + 1
      if state == 's' then fresh = fresh + 1 end
    end
  end
end
if fresh > 0 then count(fresh) end
return { adopted, tonumber(redis.call('HGET', KEYS[1], '#') or '0') }`

const owners = `${parts}
local all, seen, found = redis.call('HGETALL', KEYS[1]), {}, {}
for at = 1, #all, 2 do
  local owner = all[at] ~= '#' and parts(all[at + 1]) or ''
  if owner ~= '' and not seen[owner] then
    seen[owner] = true
    found[#found + 1] = owner
  end
end
return found`

/** The scripts; all of them refuse `store-unavailable`. */
export function createInboxScripts(redis: RedisLink) {
  return {
    hold: redis.script<['held' | 'known' | 'full', string]>('holdMessage', hold, 2),
    /** How many are kept, -1 when it is not ours any more, -2 without room; and 1 when it was or is kept. */
    settle: redis.script<[count: number, kept: number]>('settleMessage', settle, 2),
    lookUp: redis.script<'kept' | 'arrived' | 'unknown'>('lookUpMessage', lookUp, 2),
    withdraw: redis.script<number>('withdrawMessage', withdraw, 2),
    note: redis.script<number>('noteMessage', note, 1),
    take: redis.script<['busy' | 'taken', string, ...string[]]>('takeMessages', take, 1),
    adopt: redis.script<[number, number]>('adoptMessages', adopt, 1),
    owners: redis.script<string[]>('ownersOfMessages', owners, 1),
    tidy: redis.script<number>('tidyMessages', `${parts}\nreturn prune(ARGV[1])`, 1),
  }
}
