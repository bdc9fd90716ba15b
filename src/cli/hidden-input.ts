/** A value from standard input, or typed without being shown. Invariant: what is read is never printed. */
import { SteadError } from '../base/index.ts'

/** A bit more than the largest secret, so that one that is too large is told so. */
const inputBytesMax = 70_000

/**
 * All of standard input; from a terminal, one line that is not shown. `exact`: a line end at the end stays. Throws
 * `cli.interrupted`, `cli.input-too-large`.
 */
export async function readHidden(prompt: string, exact: boolean): Promise<Buffer> {
  if (process.stdin.isTTY) return readTyped(prompt)
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > inputBytesMax) {
      throw new SteadError({
        code: 'cli.input-too-large',
        message: 'the value is too large: a secret can have 1 to 65536 bytes',
        hint: 'Keep large things in a file of the app or in a database.',
      })
    }
    chunks.push(chunk)
  }
  const all = Buffer.concat(chunks)
  if (exact || all.at(-1) !== 10) return all
  return all.subarray(0, all.at(-2) === 13 ? -2 : -1)
}

/** Raw mode: the terminal shows nothing, so line end, erasing and Ctrl-C are seen to here. */
async function readTyped(prompt: string): Promise<Buffer> {
  const { stdin, stderr } = process
  // First the mode, then the prompt: whoever types at once is not shown either.
  stdin.setRawMode(true)
  stderr.write(prompt)
  const typed: string[] = []
  try {
    stdin.setEncoding('utf8')
    for await (const text of stdin as AsyncIterable<string>) {
      for (const char of text) {
        if (char === '\r' || char === '\n') return Buffer.from(typed.join(''))
        if (char === '\u0003' || (char === '\u0004' && typed.length === 0)) throw interrupted()
        if (char === '\u007f' || char === '\b') typed.pop()
        else if (char >= ' ') typed.push(char)
      }
    }
    return Buffer.from(typed.join(''))
  } finally {
    stdin.setRawMode(false)
    stdin.pause()
    stderr.write('\n')
  }
}

function interrupted(): SteadError {
  return new SteadError({ code: 'cli.interrupted', message: 'nothing was set', hint: 'It was interrupted.' })
}
