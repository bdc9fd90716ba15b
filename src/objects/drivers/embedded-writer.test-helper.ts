/**
 * A program that writes until it is killed: it says what it is about to write, and what has been answered. The content of a
 * write follows from its number, so that a reader can tell which one it sees.
 */
import { openEmbeddedObjects } from './embedded/embedded.ts'

/** Keys that are written in turn. */
export const keys = 8

/** What the write of a number puts; null where it removes, and before the first. Sizes lie on both sides of what the index holds itself. */
export function contentOf(number: number): Buffer | null {
  if (number < 0 || number % 11 === 10) return null
  const bytes = [40, 9000, 20_000, 300_000, 1_500_000][number % 5] ?? 0
  return Buffer.alloc(bytes, `${number};`)
}

async function write(dir: string, start: number): Promise<never> {
  const objects = await openEmbeddedObjects({ dir })
  const bucket = await objects.bucket('crash')
  for (let number = start; ; number += 4) {
    await Promise.all(
      [0, 1, 2, 3].map(async (lane) => {
        const [mine, key] = [number + lane, `key${(number + lane) % keys}`]
        const content = contentOf(mine)
        process.stdout.write(`begin ${mine}\n`)
        await (content === null ? bucket.delete(key) : bucket.put(key, content))
        process.stdout.write(`done ${mine}\n`)
      }),
    )
  }
}

const [dir, start] = process.argv.slice(2)
if (import.meta.main && dir !== undefined) await write(dir, Number(start))
