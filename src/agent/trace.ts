/**
 * What the kernel of this node does, seen by bpftrace for a person. Invariants: it ends by its time, by its output or with
 * who asked; a process is named by the part it belongs to, where it belongs to one.
 */
import { createInterface } from 'node:readline'
import { PassThrough } from 'node:stream'
import { endingAfter, kernelTraces, openTrace, withPart } from '../debug/index.ts'
import type { StreamEnd, StreamTarget } from '../protocol/index.ts'
import type { Open } from './carried.ts'

/** Lines of one trace. */
const linesMax = 20_000
const lineBytesMax = 4000

/** Begins at once. `partOf` names what a process belongs to. Throws `debug.refused`, naming what the machine lacks. */
export function trace(
  { trace: wanted, durationMs }: Omit<Extract<StreamTarget, { kind: 'trace' }>, 'kind' | 'node'>,
  partOf: (pid: number) => string | null,
): Open {
  const known = wanted.kind === 'reviewed' ? kernelTraces.find(({ name }) => name === wanted.name) : null
  if (known === undefined)
    throw new Error(`this node knows no such trace; it has: ${kernelTraces.map(({ name }) => name).join(', ')}`)
  const program = wanted.kind === 'own' ? wanted.program : (known?.program ?? '')
  const traced = openTrace(endingAfter(program, durationMs), known?.needs ?? [])
  const [input, output] = [new PassThrough(), new PassThrough()]
  let lines = 0
  createInterface({ input: traced.output })
    .on('line', (line) => {
      if (lines++ >= linesMax) return traced.end()
      output.write(`${withPart(line.slice(0, lineBytesMax), partOf)}\n`)
    })
    .on('close', () => output.end())
  input.on('end', () => traced.end()).resume()
  const ended = traced.ended.then((code): StreamEnd => ({
    code,
    signal: null,
    sentence: lines > linesMax ? `was ended after ${linesMax} lines` : 'ended',
  }))
  return {
    input,
    outputs: [
      { to: 'out', from: output },
      { to: 'err', from: traced.errors },
    ],
    terminal: false,
    resize() {},
    opened: Promise.resolve(),
    ended,
    kill: () => Promise.resolve(traced.kill()),
  }
}
