/** Programs of this machine that recipes can use where they are there. */
import { execFile } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { delimiter, dirname, isAbsolute, join } from 'node:path'

/** The path of a program that is on the PATH; null when there is none. */
export function findOnPath(name: string): string | null {
  for (const directory of (process.env['PATH'] ?? '').split(delimiter)) {
    // A relative entry leads to whatever lies where the command happens to be typed.
    if (!isAbsolute(directory)) continue
    const path = join(directory, name)
    try {
      accessSync(path, constants.X_OK)
      return path
    } catch {
      // Not here.
    }
  }
  return null
}

const askMs = 10_000

/** The directory that Python's package `debugpy` lies in: as STEAD_DEBUGPY says, or of the `python3` on the PATH. Null when there is none. */
export function findDebugpy(): Promise<string | null> {
  const named = process.env['STEAD_DEBUGPY']
  if (named !== undefined && isAbsolute(named)) return Promise.resolve(named)
  const python = findOnPath('python3')
  if (python === null) return Promise.resolve(null)
  const script = "import importlib.util as u; s = u.find_spec('debugpy'); print(s.origin if s else '')"
  return new Promise((resolve) => {
    execFile(python, ['-I', '-c', script], { timeout: askMs }, (error, stdout) => {
      const origin = stdout.trim()
      resolve(error !== null || origin === '' ? null : dirname(dirname(origin)))
    })
  })
}
