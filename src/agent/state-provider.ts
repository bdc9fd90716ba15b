/**
 * The provider of `state`: files that a service keeps itself. It has no server; what has to be asked is asked of the service,
 * by its hooks (`state.ts`).
 *
 * Invariant: it never writes into the files.
 */
import { existsSync, openSync, readdirSync, readSync, closeSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { SteadError } from '../base/index.ts'
import { stateConfigOf, stateType } from '../model/index.ts'
import type { Provider, ProviderContext, ResourceDiff } from '../provider/index.ts'

/** Most files of one state that are compared. */
const filesMax = 100_000
const pieceBytes = 1024 * 1024

/** Makes the provider for resources of type `state`. */
export function stateProvider(): Provider {
  const nothing = async (): Promise<void> => {}
  return {
    type: stateType,
    port: null,
    capabilities: { quiesce: 'none', diff: 'exact' },
    async provision({ name, config }: ProviderContext) {
      if (stateConfigOf(config) !== null) return null
      throw new SteadError({ code: 'agent.bad-state', message: `the config of ${name} is not the one of a state` })
    },
    ready: nothing,
    prepare: () => Promise.resolve({ schema: null }),
    grant: nothing,
    revoke: nothing,
    bind: () => ({ env: {}, files: [] }),
    quiesce: () => Promise.resolve({ [Symbol.asyncDispose]: nothing }),
    recover: nothing,
    diff: async (_context, before, after) => compared(join(before, 'files'), join(after, 'files')),
    metrics: () => Promise.resolve([]),
  }
}

/** Which files differ, by their bytes. */
function compared(before: string, after: string): ResourceDiff {
  const [old, young] = [filesIn(before), filesIn(after)]
  if (old === null || young === null)
    return { items: [], exact: false, gaps: [`It has more than ${filesMax} files, which were not compared.`] }
  const added = [...young].filter((name) => !old.has(name)).length
  const removed = [...old].filter((name) => !young.has(name)).length
  const changed = [...old].filter((name) => young.has(name) && !same(join(before, name), join(after, name))).length
  return { items: [{ name: 'files', added, removed, changed }], exact: true }
}

/** Paths of the files below a directory; null when there are too many. */
function filesIn(root: string): ReadonlySet<string> | null {
  const found = new Set<string>()
  const open = existsSync(root) ? [''] : []
  for (let dir = open.pop(); dir !== undefined; dir = open.pop()) {
    for (const entry of readdirSync(join(root, dir), { withFileTypes: true })) {
      if (entry.isDirectory()) open.push(join(dir, entry.name))
      else if (entry.isFile()) found.add(join(dir, entry.name))
      if (found.size + open.length > filesMax) return null
    }
  }
  return found
}

function same(one: string, other: string): boolean {
  if (statSync(one).size !== statSync(other).size) return false
  const files = [openSync(one, 'r'), openSync(other, 'r')]
  try {
    const pieces = files.map(() => Buffer.alloc(pieceBytes))
    for (;;) {
      const read = files.map((file, index) => readSync(file, pieces[index] ?? Buffer.alloc(0)))
      const [left, right] = pieces.map((piece, index) => piece.subarray(0, read[index]))
      if (left === undefined || right === undefined || !left.equals(right)) return false
      if (left.length === 0) return true
    }
  } finally {
    for (const file of files) closeSync(file)
  }
}
