/** The output of a task that shares its place, as lines. Invariant: what was cut off to keep within the bound is not made up for. */
import { statSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { type Clock, sleep } from '../base/index.ts'
import type { OutputLine, OutputOptions } from '../sandbox/index.ts'

/** How often a follower looks for more. */
const followMs = 200
const pieceBytes = 64 * 1024

/** Lines of the file, whose times are those of its last change; with `follow`, on until it `runs` no more or the signal aborts. */
export async function* linesOf(
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
