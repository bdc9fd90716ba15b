/**
 * Somebody's gdb in the kernel of an instance. Invariant: while it is there the instance is held, and it is known whether the kernel
 * stands, from what gdb and the kernel say to one another.
 */
import { type Duplex, pipeline, Transform } from 'node:stream'
import type { StreamEnd } from '../protocol/index.ts'
import type { Open } from './carried.ts'
import type { Hold } from './holds.ts'

/** Packets of gdb's remote protocol: to go on, all of it or by a step; and that it has stopped. */
const goesOn = /\$(?:[cCsS]|vCont;)/
const hasStopped = /\$[TS][0-9a-f]{2}/

/** Carries a connection to the kernel's stub; the hold ends with it. */
export function kernelDebugger(stream: Duplex, held: Hold): Open {
  const { promise, resolve } = Promise.withResolvers<StreamEnd>()
  const input = noticing((text) => goesOn.test(text) && held.stands(false))
  const output = noticing((text) => hasStopped.test(text) && held.stands(true))
  // The stub stops the kernel for whoever connects.
  held.stands(true)
  pipeline(input, stream, output, () => {
    held[Symbol.dispose]()
    resolve({ code: null, signal: null, sentence: 'was closed' })
  })
  return {
    input,
    outputs: [{ to: 'out', from: output }],
    terminal: false,
    resize() {},
    opened: Promise.resolve(),
    ended: promise,
    kill: () => Promise.resolve(void stream.destroy()),
  }
}

function noticing(see: (text: string) => void): Transform {
  return new Transform({
    transform(piece: Buffer, _encoding, done) {
      see(piece.toString('latin1'))
      done(null, piece)
    },
  })
}
