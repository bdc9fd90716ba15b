/** Opens streams to ports inside the network of another process, from here: nothing runs there for it. */
import { connect, type Socket } from 'node:net'
import { statSync } from 'node:fs'
import { connectInside, openLibc } from '../../network/index.ts'
import type { ProcessFacts } from '../recipe.ts'
import { processGone, refused } from '../refusals.ts'

/** Opens a stream to a loopback port of the process. Throws `debug.refused` where its network cannot be entered. */
export type Reach = (facts: ProcessFacts, port: number) => Socket

/** The C library is opened once, when the first process with a network of its own is reached. */
export function openReach(): Reach {
  let libc: ReturnType<typeof openLibc> | null = null
  return (facts, port) => {
    if (facts.shares.network) return connect({ host: '127.0.0.1', port, noDelay: true })
    libc ??= openLibc()
    if ('reason' in libc) {
      throw refused(
        `process ${facts.pid} has a network of its own, which cannot be entered: ${libc.reason}`,
        'Run the command as root, with the Node that Stead brings along.',
      )
    }
    const socket = connectInside(libc, { kind: 'instance', pid: facts.pid, netns: networkOf(facts), port })
    return socket.setNoDelay(true)
  }
}

function networkOf(facts: ProcessFacts): number {
  try {
    return statSync(`/proc/${facts.pid}/ns/net`).ino
  } catch {
    throw processGone(facts)
  }
}
