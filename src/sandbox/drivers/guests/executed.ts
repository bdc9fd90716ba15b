/** A program that the first program of a guest runs beside the guest's own, as streams and an exit. */
import { Readable, Writable } from 'node:stream'
import type { ExecOptions, Executed, Exit, TerminalSize } from '../../driver.ts'
import { explainExit } from '../../exit.ts'
import { encodeConfig, windowBytes } from './channel.ts'
import type { Channel, Frame } from './channel.ts'

const noLimits = { memoryBytes: null, cpuCores: null, pidsMax: null, tmpBytes: null }
const excessBytesMax = 4 * windowBytes
const chunkBytes = 32 * 1024

/** Starts it. Throws `sandbox.ended`. */
export async function execInGuest(channel: Channel, options: ExecOptions): Promise<Executed> {
  const running = new GuestProgram(channel, options.terminal !== null)
  await running.start(options)
  return running
}

class GuestProgram implements Executed {
  readonly input: Writable
  readonly output: Readable
  readonly errors: Readable | null
  readonly exited: Promise<Exit>
  readonly #channel: Channel
  readonly #id: number
  readonly #end = Promise.withResolvers<Exit>()
  /** What was sent to the program and not yet taken by it. */
  #underWay = 0
  #goOn: (() => void) | null = null
  #over = false

  constructor(channel: Channel, terminal: boolean) {
    this.#channel = channel
    this.exited = this.#end.promise
    this.#id = channel.listen({ frame: (frame) => this.#told(frame), closed: () => this.#lost() })
    const told = (type: string, payload = ''): void => this.#tell(type, payload)
    // What was read is told, so that the guest sends as much again.
    const reading = (): Readable =>
      new Readable({
        highWaterMark: windowBytes,
        read() {
          const bytes = taken.get(this) ?? 0
          taken.set(this, 0)
          if (bytes > 0) told('W', String(bytes))
        },
      })
    this.output = reading()
    this.errors = terminal ? null : reading()
    this.input = new Writable({
      decodeStrings: true,
      write: (chunk: Buffer, _encoding, done) => this.#write(chunk, 0, done),
      final: (done) => {
        this.#tell('I')
        done()
      },
    })
    for (const stream of [this.input, this.output, this.errors]) stream?.on('error', () => undefined)
  }

  async start({ argv, env, terminal }: ExecOptions): Promise<void> {
    const order = encodeConfig([
      ...argv.map((argument) => ['arg', argument] as const),
      ...Object.entries(env).map(([name, value]) => ['env', `${name}=${value}`] as const),
      ...(terminal === null ? [] : [['terminal', `${terminal.columns} ${terminal.rows}`] as const]),
    ])
    await this.#channel.send('X', this.#id, order)
  }

  resize({ columns, rows }: TerminalSize): void {
    if (this.errors === null) this.#tell('R', `${columns} ${rows}`)
  }

  async kill(): Promise<void> {
    this.#tell('K')
    await this.exited
  }

  #tell(type: string, payload: string | Uint8Array = ''): void {
    if (this.#over) return
    // A machine that is gone is told by the exit.
    this.#channel.send(type, this.#id, payload).catch(() => undefined)
  }

  #write(chunk: Buffer, from: number, done: () => void): void {
    if (from >= chunk.length || this.#over) return done()
    const piece = chunk.subarray(from, from + chunkBytes)
    this.#underWay += piece.length
    this.#tell('I', piece)
    const next = (): void => this.#write(chunk, from + piece.length, done)
    if (this.#underWay < windowBytes) next()
    else this.#goOn = next
  }

  #told({ type, payload }: Frame): void {
    if (type === 'O') this.#give(this.output, payload)
    else if (type === 'F' && this.errors !== null) this.#give(this.errors, payload)
    else if (type === 'C')
      this.#finish(explainExit(Number(payload.toString()) & 255, { oomKills: 0, forksRefused: 0 }, noLimits))
    else if (type === 'W') {
      this.#underWay -= Number(payload.toString())
      const goOn = this.#goOn
      this.#goOn = null
      goOn?.()
    }
  }

  #give(stream: Readable, payload: Buffer): void {
    taken.set(stream, (taken.get(stream) ?? 0) + payload.length)
    // The guest's first program waits for what was granted; one that does not is not ours.
    if (stream.readableLength > excessBytesMax) return this.#channel.close()
    stream.push(payload)
  }

  #lost(): void {
    this.#finish({ cause: 'unknown', code: null, signal: null, sentence: 'ended with the machine it ran in' })
  }

  #finish(exit: Exit): void {
    if (this.#over) return
    this.#over = true
    this.#channel.forget(this.#id)
    this.output.push(null)
    this.errors?.push(null)
    this.#goOn?.()
    this.#end.resolve(exit)
  }
}

/** Bytes that a stream was given and that the guest was not yet told of. */
const taken = new WeakMap<Readable, number>()
