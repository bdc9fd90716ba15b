/** The output of a task, wherever it is kept; of one that shares its place, as lines. Invariant: what was cut off to keep within the bound is not made up for. */
import { existsSync, statSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { type Clock, sleep } from '../base/index.ts'
import { type OutputLine, type OutputOptions, readOutput, type SandboxDriver } from '../sandbox/index.ts'
import { entryOf } from './task-spec.ts'

/** How often a follower looks for more. */
const followMs = 200
const pieceBytes = 64 * 1024

export interface KeptOutput {
  output(options: OutputOptions): AsyncIterable<OutputLine>
}

/** That of a task in the directory of its job; null: it is not there. `runs`: whether it runs in a place. */
export function keptOutput(
  dir: string,
  task: string,
  { clock, sandbox }: { readonly clock: Clock; readonly sandbox: SandboxDriver },
  runs: () => boolean,
): KeptOutput | null {
  const recordDir = join(dir, 'tasks', entryOf(task))
  // What a place has started is no record of its own.
  if (existsSync(join(recordDir, 'record.json'))) return { output: (options) => sandbox.output(recordDir, options) }
  const kept = join(recordDir, 'output')
  if (existsSync(kept)) return { output: (options) => readOutput(kept, options, clock, () => !runs()) }
  const file = join(dir, 'out', task)
  return existsSync(file) ? { output: (options) => linesOf(file, options, clock, runs) } : null
}

/** Lines of the file, whose times are those of its last change; with `follow`, on until it `runs` no more or the signal aborts. */
async function* linesOf(
  path: string,
  { tail, follow = false, signal }: OutputOptions,
  clock: Clock,
  runs: () => boolean,
): AsyncIterable<OutputLine> {
  const file = await open(path, 'r')
  try {
    let at = 0
    let rest = ''
    const decoder = new TextDecoder()
    const held: OutputLine[] = []
    for (;;) {
      const last = !follow || !runs() || signal?.aborted === true
      const { size, mtimeMs } = statSync(path)
      // It was cut off at its bound.
      if (size < at) at = 0
      while (at < size) {
        const { bytesRead, buffer } = await file.read(Buffer.alloc(pieceBytes), 0, pieceBytes, at)
        if (bytesRead === 0) break
        at += bytesRead
        const lines = (rest + decoder.decode(buffer.subarray(0, bytesRead), { stream: true })).split('\n')
        rest = lines.pop() ?? ''
        for (const text of lines) held.push({ timeMs: mtimeMs, text })
        if (tail !== undefined && !follow) held.splice(0, held.length - tail)
        else yield* held.splice(0)
      }
      if (last) {
        if (rest !== '') held.push({ timeMs: mtimeMs, text: rest })
        if (tail !== undefined) held.splice(0, held.length - tail)
        yield* held
        return
      }
      await sleep(clock, followMs)
    }
  } finally {
    await file.close()
  }
}
