/** Which file is the app file: the one that was named, or the first of the usual names in a directory. */
import { realpath, stat } from 'node:fs/promises'
import { extname, join, resolve } from 'node:path'
import { SteadError, systemCodeOf } from '../base/index.ts'

/** Names of app files, first come first taken. */
const names = ['app.ts', 'app.js', 'app.mjs']
const extensions = ['.ts', '.mts', '.js', '.mjs']

/**
 * The real path of the app file at `path`, a file or a directory that holds one.
 *
 * Throws `evaluate.no-app-file`.
 */
export async function findAppFile(path: string): Promise<string> {
  const absolute = resolve(path)
  const kind = await kindOf(absolute)
  if (kind === 'file' && extensions.includes(extname(absolute))) return realpath(absolute)
  if (kind === 'directory') {
    for (const candidate of names.map((name) => join(absolute, name))) {
      if ((await kindOf(candidate)) === 'file') return realpath(candidate)
    }
  }
  const message = {
    file: `${absolute} is no app file: its name does not end in ${extensions.join(', ')}.`,
    directory: `There is no app file in ${absolute}.`,
    other: `There is no file or directory ${absolute}.`,
  }[kind]
  const hint = `An app file is called ${names.join(' or ')}; name it, or the directory it is in.`
  throw new SteadError({ code: 'evaluate.no-app-file', message, hint })
}

/** What stands at a path. `other` also covers nothing at all. */
export async function kindOf(path: string): Promise<'file' | 'directory' | 'other'> {
  try {
    const found = await stat(path)
    return found.isFile() ? 'file' : found.isDirectory() ? 'directory' : 'other'
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'ELOOP', 'EACCES'].includes(systemCodeOf(error) ?? '')) return 'other'
    throw error
  }
}
