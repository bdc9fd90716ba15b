/**
 * From a task to what its sandbox is started with. Invariant: without isolation nothing is pretended: what would lie at a
 * fixed place inside lies in the task's own directory, and the program is told where.
 */
import { statSync } from 'node:fs'
import { join } from 'node:path'
import { SteadError } from '../base/index.ts'
import type { TaskJob, TaskStart } from '../protocol/index.ts'
import {
  type InlineFile,
  limitsWithin,
  type NetworkPlace,
  type SandboxDriver,
  type SandboxSpec,
} from '../sandbox/index.ts'
import { mayChangeOwner } from './options.ts'
import { resolverFile } from './outside.ts'

/** Where control says that a script and the hosts of a gang lie. */
const placesInside = ['/run/stead/script', '/run/stead/hosts'] as const
const outputBytesMax = 8 * 2 ** 20

export interface TaskPlace {
  readonly driver: SandboxDriver
  readonly recordDir: string
  /** Null: the host's. */
  readonly network: NetworkPlace | null
  /** Those of the GPUs that it has. */
  readonly devices: readonly string[]
}

/** The spec of a task that has a sandbox of its own. Throws `agent.belongs-to-root`. */
export function taskSpec(job: TaskJob, start: TaskStart, place: TaskPlace): SandboxSpec {
  const { driver, recordDir, network, devices } = place
  const isolated = driver.capabilities.isolation !== 'refused'
  const moved = (text: string): string => {
    const inside = placesInside.find((path) => path === text)
    return inside === undefined || isolated ? text : join(recordDir, 'files', inside.slice('/run/stead/'.length))
  }
  const texts = [job.script, start.hosts]
  const given = placesInside.flatMap((path, index) => {
    const content = texts[index] ?? null
    return content === null ? [] : [{ path: moved(path), content, mode: 0o555 }]
  })
  // Where there are no others, programs count theirs from 0.
  const own =
    isolated && devices.length > 0 ? { CUDA_VISIBLE_DEVICES: (start.gpus ?? []).keys().toArray().join(',') } : {}
  const env = { ...baseEnvironment(isolated), ...job.env, ...start.env, ...own }
  return {
    id: `job-${start.task}`,
    argv: redirected(job.argv.map(moved), start),
    env: Object.fromEntries(Object.entries(env).map(([name, value]) => [name, moved(value)])),
    cwd: job.cwd,
    mounts: isolated ? mountsOf(job) : [],
    files: [...given, ...nameFiles(job, driver)],
    hostUid: hostUidOf(job),
    limits: limitsWithin(driver.capabilities, { ...job.limits, tmpBytes: job.limits.memoryBytes }).limits,
    ...cpuClassOf(job, start.core),
    ...(devices.length === 0 ? {} : { devices }),
    syscalls: driver.capabilities.syscallFilter === 'native' ? 'strict' : 'none',
    network,
    recordDir,
    outputBytesMax,
  }
}

/** What is reserved is refused where it cannot be had, by the driver and with the reason. */
export function cpuClassOf({ cpuClass }: TaskJob, core = 0): Pick<SandboxSpec, 'cpu'> {
  if (cpuClass === undefined) return {}
  return { cpu: cpuClass === 'best-effort' ? { kind: cpuClass } : { kind: 'reserved', ...cpuClass, core } }
}

/** What the tasks of a job have in common that are started in a series, each in a sandbox of its own. Throws `agent.belongs-to-root`. */
export function seriesSpec(job: TaskJob, { driver, recordDir }: Omit<TaskPlace, 'network' | 'devices'>): SandboxSpec {
  const script = scriptFile(job, driver, recordDir)
  return {
    id: `job-${job.job}`,
    argv: job.argv,
    env: { ...baseEnvironment(true), ...job.env },
    cwd: job.cwd,
    mounts: mountsOf(job),
    files: [...(script === null ? [] : [script]), ...nameFiles(job, driver)],
    hostUid: hostUidOf(job),
    limits: { memoryBytes: null, cpuCores: null, pidsMax: null, tmpBytes: job.limits.memoryBytes },
    syscalls: driver.capabilities.syscallFilter === 'native' ? 'strict' : 'none',
    network: null,
    recordDir,
    outputBytesMax,
  }
}

/** The directory of a task below that of its job. */
export function entryOf(task: string): string {
  return task.slice(task.indexOf('-') + 1)
}

/** The script of a job as a file inside, or, without isolation, in the directory of records; null: it has none. */
export function scriptFile({ script }: TaskJob, driver: SandboxDriver, recordDir: string): InlineFile | null {
  if (script === null) return null
  const isolated = driver.capabilities.isolation !== 'refused'
  return { path: isolated ? placesInside[0] : join(recordDir, 'files', 'script'), content: script, mode: 0o555 }
}

/** By which names outside resolve, where the job may dial any. */
export function nameFiles({ egress }: TaskJob, { capabilities }: SandboxDriver): readonly InlineFile[] {
  if (egress === undefined || capabilities.isolation === 'refused') return []
  return [{ path: '/etc/resolv.conf', content: resolverFile, mode: 0o444 }]
}

export function baseEnvironment(isolated: boolean): Record<string, string> {
  return isolated
    ? { PATH: '/usr/bin:/bin', HOME: '/tmp' }
    : { PATH: process.env['PATH'] ?? '/usr/bin:/bin', HOME: process.env['HOME'] ?? '/tmp' }
}

export function mountsOf({ reads, writes }: TaskJob): SandboxSpec['mounts'] {
  const mount = (path: string, access: 'read-only' | 'read-write'): SandboxSpec['mounts'][number] => {
    return { source: path, target: path, access }
  }
  return [
    ...reads.filter((path) => !writes.includes(path)).map((path) => mount(path, 'read-only')),
    ...writes.map((path) => mount(path, 'read-write')),
  ]
}

/** A job that writes somewhere runs as who owns that, since nobody else may. Throws `agent.belongs-to-root`. */
export function hostUidOf({ hostUid, writes }: TaskJob): number {
  const [first] = writes
  if (first === undefined || !mayChangeOwner()) return hostUid
  const { uid } = statSync(first)
  if (uid !== 0) return uid
  throw new SteadError({
    code: 'agent.belongs-to-root',
    message: `${first} belongs to root, as whom no job runs in a sandbox`,
    hint: 'Give the directory to a user (chown), whom the job then runs as; or declare `--isolation none`.',
  })
}

/** Output goes to files where that was asked for: a second attempt adds to what the first has left. */
function redirected(argv: readonly string[], { output, task }: TaskStart): readonly string[] {
  if (output === null) return argv
  const again = !task.endsWith('-1')
  const [out, err] = again ? ['>>', '>>'] : ['>', '>']
  const both = output.out === output.err ? `exec ${out}"$1" 2>&1` : `exec ${out}"$1" 2${err}"$2"`
  return ['/bin/sh', '-c', `${both}; shift 2; exec "$@"`, 'sh', output.out, output.err, ...argv]
}
