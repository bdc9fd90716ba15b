/**
 * Requests that wait in HAProxy while their route has no instances, by a few lines of Lua: HAProxy itself queues for instances
 * that are busy, and answers 503 where there are none. A worker that only ends what it has begun hears of no instance any more,
 * so what waits there goes on to the worker after it, by a door that is for nothing else. Invariants: a route holds at most
 * `heldMax` in a worker; each request waits at most as long as the route says, which is looked up when it comes first; nothing
 * is asked again that was sent to an instance.
 */

/** How often one that waits looks whether there are instances; where many wait each looks more seldom. */
const lookMs = 20
const lookMoreMsEach = 0.1

/** Variable of a request with the time it may wait, in milliseconds; not there: it does not wait. */
const variable = 'txn.hold'
/** Variable of a request that goes on to the worker after this one. */
const moves = 'txn.moves'
/** Header that such a request has on its way, with the end of its time in milliseconds since 1970. Taken from that door only. */
const endsHeader = 'x-stead-hold-ends'
/** The door to the worker in charge, and its name as a server of every backend. */
const again = 'again'

/**
 * The script that a configuration loads. What waits is noted with the end of its time, because a client that leaves takes its
 * request away without a word: such a note counts until then.
 */
export const holdScript: string = `local waiting = {}

local function now_ms()
  local now = core.now()
  return now.sec * 1000 + math.floor(now.usec / 1000)
end

core.register_action('hold', { 'http-req' }, function(txn, route, most)
  local ends = tonumber(txn:get_var('txn.ends')) or (now_ms() + (tonumber(txn:get_var('${variable}')) or 0))
  local notes = waiting[route] or {}
  waiting[route] = notes
  local count = 0
  for note, at in pairs(notes) do
    if at <= now_ms() then notes[note] = nil else count = count + 1 end
  end
  if count >= tonumber(most) then return end
  local note = {}
  local pause = math.floor(${lookMs} + ${lookMoreMsEach} * count)
  notes[note] = ends
  while txn.f:nbsrv() == 0 and now_ms() < ends do
    if txn.f:stopping() == 1 then
      txn.http:req_set_header('${endsHeader}', tostring(ends))
      txn:set_var('${moves}', 1)
      break
    end
    core.msleep(pause)
  end
  notes[note] = nil
end, 2)
`

/** The lines of the frontend: the door for what has waited in a worker before this one, whose clients are still who they were. */
export function againLines(againPath: string): string[] {
  return [
    `  bind unix@${againPath} mode 600 accept-proxy name ${again}`,
    `  http-request set-var(txn.ends) req.hdr(${endsHeader}) if { so_name ${again} }`,
    `  http-request del-header ${endsHeader}`,
  ]
}

/** The lines of a backend: where it has no instances and the map knows a time for its name, what comes waits. */
export function holdLines(backend: string, { mapPath, againPath, heldMax }: HoldPlace): string[] {
  return [
    // Without a weight it is no instance: only what is sent there by name gets there.
    `  server ${again} unix@${againPath} send-proxy-v2 weight 0`,
    `  use-server ${again} if { var(${moves}) -m found }`,
    `  http-request set-var(${variable}) str(${backend}),map_str(${mapPath}) if { nbsrv eq 0 }`,
    `  http-request lua.hold ${backend} ${heldMax} if { var(${variable}) -m found }`,
  ]
}

/** Where it is known what may wait, how many, and where it goes on. */
export interface HoldPlace {
  readonly mapPath: string
  readonly againPath: string
  readonly heldMax: number
}
