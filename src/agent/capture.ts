/**
 * The packets of an instance, as a file that grows while somebody reads it. Invariants: it ends by its time, by its bytes, or
 * with whoever reads it; of packets that there was no room for the number is said; who does not read holds up the capture,
 * and not the agent.
 */
import { PassThrough } from 'node:stream'
import type { Clock } from '../base/index.ts'
import { hasPort, isIp, type Packet, packetFileHead, packetRecord, type Tap } from '../network/index.ts'
import type { StreamEnd } from '../protocol/index.ts'
import type { Open } from './carried.ts'

/** Bytes of one packet that are kept. */
const keptBytesMax = 70_000
const takeMs = 20

export interface CaptureOrder {
  readonly durationMs: number
  readonly bytesMax: number
  /** Only packets from or to it, by TCP or UDP; null: all. */
  readonly port: number | null
}

/** Begins at once. The tap is closed at the end. */
export function capture(tap: Tap, { durationMs, bytesMax, port }: CaptureOrder, clock: Clock): Open {
  const [output, notes, input] = [new PassThrough(), new PassThrough(), new PassThrough()]
  const ended = Promise.withResolvers<StreamEnd>()
  const untilMs = clock.monotonicMs() + durationMs
  let [packets, bytes, lost] = [0, 0, 0]
  let timer: Disposable | null = null
  const end = (why: string): void => {
    if (timer === null) return
    timer[Symbol.dispose]()
    timer = null
    const missed = lost === 0 ? '' : `; ${lost} more had no room`
    notes.end(`${packets} packets, ${bytes} bytes: ${why}${missed}\n`)
    output.end()
    tap[Symbol.dispose]()
    ended.resolve({ code: 0, signal: null, sentence: why })
  }
  const write = (packet: Packet): boolean => {
    const record = packetRecord(packet)
    if (bytes + record.length > bytesMax) return false
    output.write(record)
    packets += 1
    bytes += record.length
    return true
  }
  const isMeant = ({ bytes: packet }: Packet): boolean => isIp(packet) && (port === null || hasPort(packet, port))
  const turn = (): void => {
    // While nobody reads, the kernel keeps what comes, and counts what it cannot.
    const fits = output.writableNeedDrain || tap.take().filter(isMeant).every(write)
    lost += tap.dropped()
    if (!fits) return end('its bytes are spent')
    if (clock.monotonicMs() >= untilMs) return end('its time is over')
    timer = clock.after(takeMs, turn)
  }
  const head = packetFileHead(keptBytesMax)
  bytes += head.length
  output.write(head)
  timer = clock.after(0, turn)
  // The end of the input is a wish to end soon, with what there is.
  input.on('end', () => end('it was asked to end')).resume()
  return {
    input,
    outputs: [
      { to: 'out', from: output },
      { to: 'err', from: notes },
    ],
    terminal: false,
    resize() {},
    opened: Promise.resolve(),
    ended: ended.promise,
    async kill() {
      end('nobody reads it any more')
      output.destroy()
      notes.destroy()
    },
  }
}
