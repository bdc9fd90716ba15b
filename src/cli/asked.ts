/**
 * What somebody asks of a program through a debugger, for the record: expressions, conditions, values that he sets. Pure but for
 * what has come so far.
 *
 * Invariant: nothing is changed on the way; what is no message of the protocol is left to the other end to refuse.
 */
import { DapDecoder } from '../debug/index.ts'
import type { RemoteStream } from '../protocol/index.ts'

/** Longest text of one entry. */
const textMax = 500

/** The stream, of whose input `onAsked` is told what it asks. */
export function observed(stream: RemoteStream, onAsked: (what: string) => void): RemoteStream {
  const decoder = new DapDecoder()
  let readable = true
  return {
    pieces: stream.pieces,
    ended: stream.ended,
    end: () => stream.end(),
    close: (lost) => stream.close(lost),
    seen: (bytes) => stream.seen(bytes),
    resize: (size) => stream.resize(size),
    async write(bytes) {
      try {
        if (readable) for (const message of decoder.push(bytes)) for (const what of wordsOf(message)) onAsked(what)
      } catch {
        readable = false
      }
      await stream.write(bytes)
    },
  }
}

function wordsOf(message: Readonly<Record<string, unknown>>): readonly string[] {
  const { command } = message
  const args = objectOf(message['arguments'])
  switch (command) {
    case 'evaluate':
      return [`evaluate ${text(args['expression'])}`]
    case 'setVariable':
      return [`set ${text(args['name'])} to ${text(args['value'])}`]
    case 'setBreakpoints':
      return listOf(args['breakpoints']).flatMap((breakpoint) =>
        ['condition', 'logMessage'].flatMap((name) =>
          text(breakpoint[name]) === '' ? [] : [`${name} ${text(breakpoint[name])}`],
        ),
      )
    default:
      return []
  }
}

function text(value: unknown): string {
  return typeof value === 'string' ? value.replaceAll(/\s+/g, ' ').slice(0, textMax) : ''
}

function objectOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? { ...value } : {}
}

function listOf(value: unknown): readonly Readonly<Record<string, unknown>>[] {
  return Array.isArray(value) ? value.map(objectOf) : []
}
