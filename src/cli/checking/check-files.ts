/**
 * Which files a check reads: those that were named, and below named directories those that can be inputs. Invariants: what is
 * read is bounded in number and size before it is read; links are not followed; nothing is fetched.
 */
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { extname, join } from 'node:path'
import { SteadError } from '../../base/index.ts'
import { decodeSource, emptyInventory, fileBytesMax, readSource, readSteadApp, tooLarge } from '../../check/index.ts'
import type { Inventory, SourceFile } from '../../check/index.ts'
import { evaluateAppFile, findAppFile } from '../../evaluate/index.ts'

/** Most files of one check, and deepest directory below the one that was named. */
const filesMax = 20_000
const depthMax = 40

const extensions: ReadonlySet<string> = new Set(['.yaml', '.yml', '.json', '.service', '.lock', '.sum'])
/** Directories that hold what others made. */
const skipped: ReadonlySet<string> = new Set(['node_modules', 'dist', 'build', 'vendor', '__pycache__', '.git'])

export interface CheckInput {
  readonly inventory: Inventory
  /** Files that something was read from. */
  readonly sources: readonly SourceFile[]
  /** Files that were looked at. */
  readonly files: number
}

/** Reads what the paths name: files, directories, `-` for what comes in. Throws `cli.no-input` for a path that is not there. */
export async function readInputs(paths: readonly string[]): Promise<CheckInput> {
  const inventory = emptyInventory()
  const sources: SourceFile[] = []
  let files = 0

  function take(path: string, named: boolean, bytes: Uint8Array): void {
    files++
    const decoded = decodeSource(path, bytes)
    if ('code' in decoded) inventory.problems.push(decoded)
    else if (readSource(decoded, { named }, inventory) || named) sources.push(decoded)
  }

  /** Reads a file, unless it is larger than what is read: then not one byte of it. */
  function takeFile(path: string, named: boolean, bytes: number): void {
    if (bytes <= fileBytesMax) return take(path, named, readFileSync(path))
    files++
    inventory.problems.push(tooLarge(path, bytes))
  }

  for (const path of paths) {
    if (path === '-') {
      take('-', true, await standardInput())
      continue
    }
    const found = statSync(path, { throwIfNoEntry: false })
    if (found === undefined)
      throw new SteadError({
        code: 'cli.no-input',
        message: `There is no file or directory ${path}.`,
        hint: 'Name files, directories, or - for standard input.',
      })
    if (!found.isDirectory()) {
      if (isAppFile(path)) await takeApp(path, inventory, sources)
      else takeFile(path, true, found.size)
      continue
    }
    for (const file of walk(path)) {
      if (files >= filesMax)
        throw new SteadError({
          code: 'cli.too-many-files',
          message: `There are more than ${filesMax} files below ${path}.`,
          hint: 'Name the directories that hold the design.',
        })
      takeFile(file, false, statSync(file).size)
    }
    if (await hasAppFile(path)) await takeApp(path, inventory, sources)
  }
  return { inventory, sources, files }
}

/** What comes in; of more than is read only as much as shows that it is more. */
async function standardInput(): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of process.stdin) {
    const part: Uint8Array = Buffer.from(chunk)
    chunks.push(part)
    bytes += part.length
    if (bytes > fileBytesMax) break
  }
  return Buffer.concat(chunks)
}

function* walk(directory: string, depth = 0): Generator<string> {
  const entries = readdirSync(directory, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1))
  for (const entry of entries) {
    const path = directory === '.' ? entry.name : join(directory, entry.name)
    if (entry.isDirectory() && depth < depthMax && !skipped.has(entry.name)) yield* walk(path, depth + 1)
    else if (entry.isFile() && extensions.has(extname(entry.name))) yield path
  }
}

function isAppFile(path: string): boolean {
  return /\.m?[tj]s$/.test(path)
}

async function hasAppFile(directory: string): Promise<boolean> {
  return findAppFile(directory).then(
    () => true,
    () => false,
  )
}

async function takeApp(path: string, inventory: Inventory, sources: SourceFile[]): Promise<void> {
  const file = await findAppFile(path)
  const graph = await evaluateAppFile(path, {
    environment: { name: 'production', production: true },
    timeoutMs: 30_000,
  })
  const source: SourceFile = {
    path: isAppFile(path) ? path : join(path, file.split('/').at(-1) ?? ''),
    text: readFileSync(file, 'utf8'),
  }
  readSteadApp(source, JSON.parse(JSON.stringify(graph)), inventory)
  sources.push(source)
}
