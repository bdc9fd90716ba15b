/**
 * The programs of a test app as the machine sees them, whoever started them: found by their environment in /proc. A watch
 * looks all the time, so that a program that ran twice for a moment is not missed.
 */
import { readdirSync, readFileSync, readlinkSync, rmdirSync } from 'node:fs'
import { join } from 'node:path'

const lookEveryMs = 50

export interface Program {
  readonly pid: number
  readonly instance: string
}

/** Running programs of the app's instances: those that are Python, without what keeps them. */
export function programsOf(app: string): Program[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        if (!/\/python3[.\d]*$/.test(readlinkSync(`/proc/${name}/exe`))) return []
        const env = readFileSync(`/proc/${name}/environ`, 'latin1').split('\0')
        const instance = env.find((line) => line.startsWith('STEAD_INSTANCE='))?.slice('STEAD_INSTANCE='.length)
        return instance?.startsWith(`${app}.`) === true ? [{ pid: Number(name), instance }] : []
      } catch {
        // It ended while it was looked at.
        return []
      }
    })
}

/** Everything whose command line names `text`: programs, and what keeps and logs them. */
export function processesNaming(text: string): { pid: number; command: string }[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .flatMap((name) => {
      try {
        const command = readFileSync(`/proc/${name}/cmdline`, 'latin1').replaceAll('\0', ' ')
        return command.includes(text) ? [{ pid: Number(name), command: command.slice(0, 200) }] : []
      } catch {
        return []
      }
    })
}

export interface ProgramWatch extends Disposable {
  /** What was seen that must never be: one instance running twice, or more instances of a part than allowed. */
  readonly wrong: readonly string[]
}

/** Watches the app's programs. `allowed` is the largest number of instances of a part at one time. */
export function watchPrograms(app: string, allowed: Readonly<Record<string, number>>): ProgramWatch {
  const wrong: string[] = []
  const timer = setInterval(() => {
    const programs = programsOf(app)
    for (const [instance, own] of Map.groupBy(programs, (program) => program.instance))
      if (own.length > 1) wrong.push(`${instance} ran ${own.length} times: ${own.map(({ pid }) => pid).join(' ')}`)
    for (const [part, max] of Object.entries(allowed)) {
      const own = programs.filter(({ instance }) => instance.startsWith(`${app}.${part}.`))
      if (own.length > max) wrong.push(`${own.length} of ${part}: ${own.map(({ instance }) => instance).join(' ')}`)
    }
  }, lookEveryMs)
  return { wrong, [Symbol.dispose]: () => clearInterval(timer) }
}

/** Takes away the limit groups of that name, which must be empty. */
export function removeGroups(name: string, root = '/sys/fs/cgroup'): void {
  const remove = (directory: string): void => {
    try {
      for (const entry of readdirSync(directory, { withFileTypes: true }))
        if (entry.isDirectory()) remove(join(directory, entry.name))
      rmdirSync(directory)
    } catch {
      // It is not there, or already gone.
    }
  }
  for (const place of [root, ...readdirSync(root).map((controller) => join(root, controller))])
    remove(join(place, name))
}
