/**
 * The browser half as it is served: built files, held in memory. In the package they lie beside this file; in a checkout
 * `scripts/dashboard.ts` has put them under `node_modules/.cache`. Invariant: what is served is what was read at the start;
 * no path of a request ever reaches the disk.
 */
import { createHash } from 'node:crypto'
import { existsSync, globSync, readFileSync } from 'node:fs'
import { extname, join } from 'node:path'

export interface BuiltFile {
  readonly type: string
  readonly bytes: Buffer
  readonly etag: string
  /** Its name changes with its content. */
  readonly immutable: boolean
}

const types: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.woff2': 'font/woff2',
  '.txt': 'text/plain; charset=utf-8',
}

/** Where the built half is. */
export function builtDirectory(): string {
  return import.meta.filename.endsWith('.ts')
    ? join(import.meta.dirname, '..', '..', 'node_modules', '.cache', 'stead-dashboard')
    : join(import.meta.dirname, 'web')
}

/** The files by path (`/`, `/assets/…`); null when the half has not been built. */
export function readBuilt(directory: string): ReadonlyMap<string, BuiltFile> | null {
  if (!existsSync(join(directory, 'index.html'))) return null
  const paths = globSync('**/*.*', { cwd: directory }).filter((path) => extname(path) in types)
  const files = paths.map((path): [string, BuiltFile] => {
    const bytes = readFileSync(join(directory, path))
    const etag = `"${createHash('sha256').update(bytes).digest('hex').slice(0, 16)}"`
    const immutable = path.startsWith('assets/')
    return [path === 'index.html' ? '/' : `/${path}`, { type: types[extname(path)] ?? '', bytes, etag, immutable }]
  })
  return new Map(files)
}
