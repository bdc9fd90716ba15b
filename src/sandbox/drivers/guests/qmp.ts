/**
 * Orders to a running QEMU, by its own protocol (QMP: a line of JSON each way) on a Unix socket.
 *
 * Invariant: one connection for each order, closed after it, because QEMU serves one at a time.
 */
import { createInterface } from 'node:readline'
import { SteadError, sleep } from '../../../base/index.ts'
import type { Clock, Json } from '../../../base/index.ts'
import type { Duplex } from 'node:stream'

/** Of most orders, which are obeyed at once, and of those that write or read a whole memory. */
const orderTimeoutMs = 30_000
export const longOrderTimeoutMs: number = 600_000
const connectEveryMs = 50

export interface Qmp {
  /** Throws `sandbox.machine-refused` with QEMU's words, `sandbox.machine-silent`. */
  execute(command: string, args?: Readonly<Record<string, Json>>, timeoutMs?: number): Promise<Json>
}

/**
 * Connects, does something, and disconnects. Throws `sandbox.machine-silent` when QEMU does not answer within 30 s or ends.
 */
export async function withQmp<T>(
  connect: () => Promise<Duplex | null>,
  clock: Clock,
  isOver: () => boolean,
  work: (qmp: Qmp) => Promise<T>,
): Promise<T> {
  const deadlineMs = clock.monotonicMs() + orderTimeoutMs
  let socket = await connect()
  while (socket === null) {
    if (isOver() || clock.monotonicMs() > deadlineMs) throw silent()
    await sleep(clock, connectEveryMs)
    socket = await connect()
  }
  const lines = createInterface({ input: socket })[Symbol.asyncIterator]()
  const open = socket
  // That it is gone is seen where an answer is waited for.
  open.on('error', () => undefined)
  try {
    const next = async (timeoutMs = orderTimeoutMs): Promise<Readonly<Record<string, unknown>>> => {
      const late = Promise.withResolvers<never>()
      using _timer = clock.after(timeoutMs, () => late.reject(silent()))
      const { done, value } = await Promise.race([lines.next(), late.promise])
      if (done === true) throw silent()
      const said: unknown = JSON.parse(value)
      return typeof said === 'object' && said !== null ? { ...said } : {}
    }
    const execute: Qmp['execute'] = async (command, args = {}, timeoutMs = orderTimeoutMs) => {
      open.write(`${JSON.stringify({ execute: command, arguments: args })}\n`)
      for (;;) {
        const said = await next(timeoutMs)
        // Events come in between.
        if ('return' in said) return said['return'] as Json
        if ('error' in said) throw refused(command, said['error'])
      }
    }
    await next()
    await execute('qmp_capabilities')
    return await work({ execute })
  } finally {
    open.destroy()
  }
}

function refused(command: string, error: unknown): SteadError {
  const words = typeof error === 'object' && error !== null && 'desc' in error ? String(error.desc) : 'no reason given'
  return new SteadError({
    code: 'sandbox.machine-refused',
    message: `The machine refused the order ${command}: ${words}`,
  })
}

function silent(): SteadError {
  return new SteadError({
    code: 'sandbox.machine-silent',
    message: 'The machine does not answer.',
    hint: 'It may have ended, or another holds its socket.',
    retry: 'later',
  })
}
