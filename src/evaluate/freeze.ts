/**
 * Stops the clock and fixes the dice of this process, so that an app file gives the same graph every time. A help to
 * honest files, not a wall: times of files, process ids and generated keys stay what they are.
 */
import crypto from 'node:crypto'
import { syncBuiltinESMExports } from 'node:module'
import { seededRandom } from '../base/index.ts'

/** The moment at which app files run: the start of the year 2000, UTC. */
export const frozenMs: number = Date.UTC(2000, 0, 1)

/** Freezes clock and randomness of this process for good. */
export function freeze(): void {
  freezeDate()
  freezeTemporal()
  freezeTimers()
  freezeRandomness()
  syncBuiltinESMExports()
}

function freezeDate(): void {
  const RealDate = Date
  const frozen = new Proxy(RealDate, {
    construct: (target, args, newTarget) =>
      Reflect.construct(target, args.length === 0 ? [frozenMs] : args, newTarget) as object,
    apply: () => new RealDate(frozenMs).toString(),
  })
  RealDate.now = () => frozenMs
  RealDate.prototype.constructor = frozen
  globalThis.Date = frozen

  const formatter = Intl.DateTimeFormat.prototype
  const parts = Reflect.get<object, string>(formatter, 'formatToParts') as typeof formatter.formatToParts
  const format = Reflect.getOwnPropertyDescriptor(formatter, 'format')
  Object.defineProperty(formatter, 'format', {
    get(this: Intl.DateTimeFormat) {
      const bound = format?.get?.call(this) as (date: Date | number) => string
      return (date: Date | number = frozenMs) => bound(date)
    },
  })
  formatter.formatToParts = function (date = frozenMs) {
    return parts.call(this, date)
  }
}

/** As much of Temporal as there is to freeze; Node has it from version 26. */
interface TemporalApi {
  readonly Now: Record<string, unknown>
  readonly Instant: {
    fromEpochMilliseconds(ms: number): {
      toZonedDateTimeISO(zone: unknown): { toPlainDateTime(): unknown; toPlainDate(): unknown; toPlainTime(): unknown }
    }
  }
}

function freezeTemporal(): void {
  const api = Reflect.get(globalThis, 'Temporal') as TemporalApi | undefined
  if (api === undefined) return
  const instant = api.Instant.fromEpochMilliseconds(frozenMs)
  const zoned = (zone: unknown = 'UTC'): ReturnType<typeof instant.toZonedDateTimeISO> =>
    instant.toZonedDateTimeISO(zone)
  Object.assign(api.Now, {
    instant: () => instant,
    zonedDateTimeISO: zoned,
    plainDateTimeISO: (zone?: unknown) => zoned(zone).toPlainDateTime(),
    plainDateISO: (zone?: unknown) => zoned(zone).toPlainDate(),
    plainTimeISO: (zone?: unknown) => zoned(zone).toPlainTime(),
  })
}

function freezeTimers(): void {
  performance.now = () => 0
  Object.defineProperty(performance, 'timeOrigin', { value: frozenMs })
  process.uptime = () => 0
  const hrtime = (): [number, number] => [0, 0]
  process.hrtime = Object.assign(hrtime, { bigint: () => 0n })
}

type Bytes = NodeJS.ArrayBufferView | ArrayBuffer

function freezeRandomness(): void {
  const random = seededRandom(1)
  const fill = <T extends Bytes>(target: T, offset = 0, size?: number): T => {
    const view = ArrayBuffer.isView(target)
      ? new Uint8Array(target.buffer, target.byteOffset, target.byteLength)
      : new Uint8Array(target)
    view.set(random.bytes(size ?? view.length - offset), offset)
    return target
  }
  const fraction = (): number => Buffer.from(random.bytes(4)).readUInt32LE() / 2 ** 32
  const uuid = (): string => {
    const hex = Buffer.from(random.bytes(16)).toString('hex')
    const groups = [hex.slice(0, 8), hex.slice(8, 12), `4${hex.slice(13, 16)}`, `a${hex.slice(17, 20)}`, hex.slice(20)]
    return groups.join('-')
  }
  /** Turns a synchronous function into one that answers a callback where it is given one. */
  const either =
    <A extends unknown[], R>(run: (...args: A) => R) =>
    (...args: unknown[]): R | undefined => {
      const last = args.at(-1)
      if (typeof last !== 'function') return run(...(args as A))
      const result = run(...(args.slice(0, -1) as A))
      process.nextTick(last, null, result)
    }
  Math.random = fraction
  Object.assign(crypto, {
    randomBytes: either((size: number) => Buffer.from(random.bytes(size))),
    randomInt: either((min: number, max?: number) =>
      max === undefined ? Math.floor(fraction() * min) : min + Math.floor(fraction() * (max - min)),
    ),
    randomFillSync: fill,
    randomFill: either(fill),
    randomUUID: uuid,
  })
  Object.assign(Object.getPrototypeOf(crypto.webcrypto) as object, { getRandomValues: fill, randomUUID: uuid })
}
