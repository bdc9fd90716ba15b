/** Directories and files that an app file names. They lie inside that of the app file, so that a bundle never takes in more than the app. */
import { badOption } from './check.ts'
import { directoryPattern } from './patterns.ts'

/** The directory as the graph writes it: relative, forward slashes, no `./` in front. Throws `model.bad-option`. */
export function readDirectory(owner: string, option: string, value: unknown): string {
  const hint = "A directory beside or below the app file, written relative to it, as in './web'."
  if (typeof value !== 'string') throw badOption(owner, option, 'a directory', value, hint)
  const segments = value.split('/').filter((segment) => segment !== '' && segment !== '.')
  const normal = segments.length === 0 ? '.' : segments.join('/')
  const fits = value !== '' && !value.startsWith('/') && value.length <= 1024 && directoryPattern.test(normal)
  if (fits) return normal
  throw badOption(owner, option, "a directory inside the app file's own", value, hint)
}

/** A file, as the graph writes it: as a directory. Throws `model.bad-option`. */
export function readFilePath(owner: string, option: string, value: unknown): string {
  const hint = "A file beside or below the app file, written relative to it, as in './disk.qcow2'."
  const normal = typeof value === 'string' && !value.endsWith('/') ? readDirectory(owner, option, value) : '.'
  if (normal !== '.') return normal
  throw badOption(owner, option, "a file inside the app file's directory", value, hint)
}
