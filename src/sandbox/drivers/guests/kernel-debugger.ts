/**
 * The debugger of a guest's kernel, by the stub of what emulates it.
 *
 * Invariants: there is one at a time. When its connection ends, however it does, breakpoints are out and the kernel runs on; also
 * when the supervisor that carried it was killed, because it lies beside the machine's sockets that there is one.
 */
import { lstatSync, rmSync, writeFileSync } from 'node:fs'
import type { Duplex } from 'node:stream'
import { type Clock, sleep, SteadError } from '../../../base/index.ts'

/** What the stub is told to let go of its only process, and what it says then: gdb's remote protocol, with its sums. */
const detach = '+$D;1#b0'
const detached = '$OK#9a'
/** Longest wait for that. What was said is heard also later: the stub reads it when it comes to it. */
const detachMs = 3000

export interface KernelDebuggerOptions {
  readonly id: string
  readonly clock: Clock
  /** A connection to the stub. A kernel stands from then on until it is told otherwise. */
  readonly open: () => Promise<Duplex>
  /** A file that is there for as long as somebody debugs it. */
  readonly mark: string
  /** Called when a debugger has gone and the kernel runs on. */
  readonly released: () => Promise<void>
}

export class KernelDebugger {
  readonly #options: KernelDebuggerOptions
  #isOpen = false

  constructor(options: KernelDebuggerOptions) {
    this.#options = options
  }

  /** Throws `sandbox.ended`, and `sandbox.refused` while there is another. */
  async connect(): Promise<Duplex> {
    const { id, open, mark } = this.#options
    if (this.#isOpen) {
      throw new SteadError({
        code: 'sandbox.refused',
        message: `Somebody debugs the kernel of ${id} already.`,
        hint: 'One gdb at a time: end the other, which lets the kernel run on.',
        retry: 'later',
      })
    }
    this.#isOpen = true
    try {
      const stream = await open()
      note(mark)
      stream.once('close', () => void this.#letGo())
      return stream
    } catch (error) {
      this.#isOpen = false
      throw error
    }
  }

  /** Lets the kernel go of which an earlier supervisor had let somebody in. */
  async adopt(): Promise<void> {
    if (this.#isOpen || lstatSync(this.#options.mark, { throwIfNoEntry: false }) === undefined) return
    this.#isOpen = true
    await this.#letGo()
  }

  async #letGo(): Promise<void> {
    const { clock, open, mark } = this.#options
    try {
      const stream = await open()
      const said = new Promise<void>((resolve) => {
        let heard = ''
        stream.on('data', (piece: Buffer) => {
          heard = `${heard}${piece.toString('latin1')}`.slice(-detached.length)
          if (heard === detached) resolve()
        })
        stream.once('close', resolve)
      })
      stream.on('error', () => undefined)
      stream.write(detach)
      await Promise.race([said, sleep(clock, detachMs)])
      stream.destroy()
      await this.#options.released()
    } catch {
      // The machine has ended.
    }
    rmSync(mark, { force: true })
    this.#isOpen = false
  }
}

/** Follows no link: the directory was once that of what emulates. */
function note(mark: string): void {
  if (lstatSync(mark, { throwIfNoEntry: false }) === undefined) writeFileSync(mark, '', { flag: 'wx' })
}
