/**
 * The process in which an app file runs. It is started with everything taken away (guards.ts) and does three things:
 * freeze the clock, run the file, say what came of it on a channel of its own. It trusts nothing, and is not trusted:
 * the parent checks the graph again.
 */
import { writeSync } from 'node:fs'
import { registerHooks } from 'node:module'
import { extname } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { isSteadError, messageOf, systemCodeOf } from '../base/index.ts'
import { answerFd, startedLine } from './answer.ts'
import type { Answer, Question, Thrown } from './answer.ts'
import { freeze } from './freeze.ts'
import { placeOf } from './place.ts'

const question = JSON.parse(process.argv[2] ?? '') as Question
const entry = pathToFileURL(question.file).href
const ownRoot = new URL('..', import.meta.url).href
const ownCode = fileURLToPath(ownRoot)
const model = new URL(`../model/index${extname(import.meta.filename)}`, import.meta.url).href
// Taken now: what the app file does to these globals is its own affair.
const { stringify } = JSON
const exit = process.exit.bind(process)

/** Writes all of a text, however full the pipe is. */
function say(text: string): void {
  let rest = Buffer.from(text)
  while (rest.length > 0) {
    try {
      rest = rest.subarray(writeSync(answerFd, rest))
    } catch (error) {
      if (systemCodeOf(error) !== 'EAGAIN') throw error
    }
  }
}

function asText(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

function asThrown(error: unknown): Thrown {
  // What fetch throws says nothing; its cause is the refusal.
  if (error instanceof Error && systemCodeOf(error.cause) === 'ERR_ACCESS_DENIED') return asThrown(error.cause)
  const own = error instanceof Error ? error : undefined
  return {
    name: own?.name ?? '',
    message: messageOf(error),
    stack: asText(own?.stack),
    code: systemCodeOf(error) ?? '',
    hint: isSteadError(error) ? (error.hint ?? '') : '',
    resource: own !== undefined && 'resource' in own ? asText(own.resource) : '',
  }
}

registerHooks({
  resolve(specifier, context, next) {
    if (specifier === 'stead') return { url: model, shortCircuit: true }
    const own = context.parentURL?.startsWith(ownRoot) === true ? question.packages[specifier] : undefined
    if (own !== undefined) return { url: own, shortCircuit: true }
    const found = next(specifier, context)
    // App files are modules, whatever a package.json above them says of other files.
    if (found.url.endsWith('.ts') && !found.url.includes('/node_modules/')) {
      return { ...found, format: 'module-typescript' }
    }
    return found.url === entry && !entry.endsWith('ts') ? { ...found, format: 'module' } : found
  },
})

const { toGraph } = await import('../model/index.ts')
process.env = { TZ: 'UTC' }
freeze()
say(startedLine)

async function evaluate(): Promise<Answer> {
  const exported = (await import(entry)) as Readonly<Record<string, unknown>>
  if (!('default' in exported)) return { kind: 'no-default', exports: Object.keys(exported) }
  return { kind: 'graph', graph: toGraph(exported['default'], question.environment) }
}

// Deep enough to reach the app file from any library under it.
Error.stackTraceLimit = 50
process.on('uncaughtException', (error) => {
  say(stringify({ kind: 'thrown', ...asThrown(error) } satisfies Answer))
  exit(0)
})
try {
  say(stringify(await evaluate()))
  exit(0)
} catch (error) {
  say(stringify({ kind: 'thrown', ...asThrown(error) } satisfies Answer))
  // Node tells the place of some syntax errors only when it prints them itself.
  process.removeAllListeners('uncaughtException')
  if (error instanceof SyntaxError && placeOf(asText(error.stack), ownCode) === null) throw error
  exit(0)
}
