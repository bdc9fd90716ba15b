/**
 * Slurm 22.05 from Debian's packages, unpacked beside the repository and started on loopback with everything of it in a
 * temporary folder: a peer to measure jobs against. Tuned: it looks for jobs all the time, and there is no accounting, no
 * cgroup and no process tracking that costs anything.
 */
import { execFile, spawnSync } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { randomBytes } from 'node:crypto'
import { promisify } from 'node:util'
import { freePort } from './command-line.ts'
import { cached, fetching, run } from './fetch.ts'

const name = 'slurm-22.05'
const packages = ['slurmctld', 'slurmd', 'slurm-client', 'slurm-wlm-basic-plugins', 'munge']
const startMs = 20_000

/** Why it cannot be had here; false when it can. Fetches it where it is not there yet. */
export function needsSlurm(): string | false {
  if (existsSync(cached(name))) return false
  if (process.platform !== 'linux' || process.getuid?.() !== 0)
    return 'Slurm is unpacked from packages of Debian, as root'
  try {
    fetching((dir) => {
      const debs = join(dir, 'debs')
      mkdirSync(join(debs, 'partial'), { recursive: true })
      const options = ['-y', '--no-install-recommends', '--download-only', '-o', `Dir::Cache::archives=${debs}`]
      run(dir, 'apt-get', 'install', ...options, ...packages)
      const root = join(dir, 'root')
      mkdirSync(root)
      for (const file of readdirSync(debs))
        if (file.endsWith('.deb')) run(dir, 'dpkg-deb', '-x', join(debs, file), root)
      renameSync(root, cached(name))
    })
    return false
  } catch (error) {
    return `Slurm could not be fetched: ${String(error)}`
  }
}

export class Slurm implements AsyncDisposable {
  readonly #dir: string
  readonly #env: NodeJS.ProcessEnv

  private constructor(dir: string) {
    const root = cached(name)
    const libraries = [join(root, 'usr/lib/x86_64-linux-gnu'), join(root, 'usr/lib/x86_64-linux-gnu/slurm-wlm')]
    this.#dir = dir
    this.#env = {
      PATH: ['usr/sbin', 'usr/bin'].map((path) => join(root, path)).join(':') + ':/usr/sbin:/usr/bin:/sbin:/bin',
      LD_LIBRARY_PATH: libraries.join(':'),
      SLURM_CONF: join(dir, 'slurm.conf'),
    }
  }

  /** Nodes of so many slots, as many as there are CPUs of them said to be. */
  static async start(nodes: number, slots: number): Promise<Slurm> {
    const slurm = new Slurm(mkdtempSync(join(tmpdir(), 'st-slurm-')))
    try {
      await slurm.#start(nodes, slots)
      return slurm
    } catch (error) {
      await slurm[Symbol.asyncDispose]()
      throw error
    }
  }

  async #start(nodes: number, slots: number): Promise<void> {
    const dir = this.#dir
    const ports = await Promise.all(Array.from({ length: nodes + 1 }, freePort))
    for (const made of ['state', 'log', 'spool']) mkdirSync(join(dir, made))
    writeFileSync(join(dir, 'munge.key'), randomBytes(128), { mode: 0o400 })
    writeFileSync(join(dir, 'cgroup.conf'), 'CgroupPlugin=cgroup/v1\n')
    writeFileSync(join(dir, 'slurm.conf'), configOf(dir, ports, nodes, slots))
    const key = [
      'key-file=munge.key',
      'socket=munge.sock',
      'pid-file=munged.pid',
      'log-file=log/munged.log',
      'seed-file=munge.seed',
    ]
    this.#run('munged', ...key.map((option) => `--${option.replace('=', `=${dir}/`)}`), '--force')
    this.#run('slurmctld-wlm', '-f', join(dir, 'slurm.conf'), '-c')
    const step = join(cached(name), 'usr/sbin/slurmstepd-wlm')
    for (let node = 1; node <= nodes; node++)
      this.#run('slurmd-wlm', '-N', `n${node}`, '-f', join(dir, 'slurm.conf'), '-d', step)
    const untilMs = performance.now() + startMs
    for (;;) {
      const states = this.#ask('sinfo', '-h', '-o', '%T')
        .split('\n')
        .filter((line) => line !== '')
      if (states.length === 1 && states[0] === 'idle') return
      if (performance.now() > untilMs) throw new Error(`Slurm did not start: ${states.join(', ')}`)
      await pause(100)
    }
  }

  /** Runs an array of `true` to its end; answers the seconds from the submission to an empty queue. */
  async array(tasks: number): Promise<number> {
    const script = join(this.#dir, 'job.sh')
    writeFileSync(script, '#!/bin/sh\nexec true\n')
    const fromMs = performance.now()
    const quiet = ['-o', '/dev/null', '-e', '/dev/null']
    this.#run('sbatch', '-n1', '-c1', `--array=1-${tasks}`, ...quiet, script)
    while ((await this.#askLater('squeue', '-h', '-r')).trim() !== '') await pause(200)
    return (performance.now() - fromMs) / 1000
  }

  version(): string {
    return this.#ask('sinfo', '--version').trim()
  }

  #run(command: string, ...args: readonly string[]): void {
    const { status, stderr } = spawnSync(command, args, { env: this.#env, encoding: 'utf8', cwd: this.#dir })
    if (status !== 0) throw new Error(`${command}: ${stderr}`)
  }

  #ask(command: string, ...args: readonly string[]): string {
    return spawnSync(command, args, { env: this.#env, encoding: 'utf8', timeout: 5000 }).stdout
  }

  async #askLater(command: string, ...args: readonly string[]): Promise<string> {
    return (await promisify(execFile)(command, args, { env: this.#env, timeout: 20_000, maxBuffer: 2 ** 26 })).stdout
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const pids = readdirSync(this.#dir)
      .filter((file) => file.endsWith('.pid'))
      .map((file) => Number(readFileSync(join(this.#dir, file), 'utf8')))
    for (const pid of pids) {
      try {
        process.kill(pid)
      } catch {
        // It has ended already.
      }
    }
    for (let tries = 0; tries < 100 && pids.some((pid) => existsSync(`/proc/${pid}`)); tries++) await pause(100)
    rmSync(this.#dir, { recursive: true, force: true })
  }
}

function configOf(dir: string, ports: readonly number[], nodes: number, slots: number): string {
  const root = cached(name)
  const settings: Readonly<Record<string, string | number>> = {
    ClusterName: 'peer',
    SlurmctldHost: `${hostname()}(127.0.0.1)`,
    SlurmUser: 'root',
    SlurmdUser: 'root',
    AuthType: 'auth/munge',
    AuthInfo: `socket=${dir}/munge.sock`,
    CryptoType: 'crypto/munge',
    PluginDir: `${root}/usr/lib/x86_64-linux-gnu/slurm-wlm`,
    SlurmctldPort: ports[0] ?? 0,
    StateSaveLocation: `${dir}/state`,
    SlurmdSpoolDir: `${dir}/spool/%n`,
    SlurmctldPidFile: `${dir}/slurmctld.pid`,
    SlurmdPidFile: `${dir}/slurmd.%n.pid`,
    SlurmctldLogFile: `${dir}/log/slurmctld.log`,
    SlurmdLogFile: `${dir}/log/slurmd.%n.log`,
    ProctrackType: 'proctrack/pgid',
    TaskPlugin: 'task/none',
    JobAcctGatherType: 'jobacct_gather/none',
    AccountingStorageType: 'accounting_storage/none',
    JobCompType: 'jobcomp/none',
    SwitchType: 'switch/none',
    MpiDefault: 'none',
    ReturnToService: 2,
    SchedulerType: 'sched/backfill',
    SchedulerParameters: [
      'sched_interval=1',
      'sched_min_interval=20000',
      'batch_sched_delay=0',
      'default_queue_depth=1000',
      'sched_max_job_start=0',
      'bf_interval=5',
    ].join(','),
    SelectType: 'select/cons_tres',
    SelectTypeParameters: 'CR_CPU',
    MaxArraySize: 20_001,
    MaxJobCount: 50_000,
    SlurmctldDebug: 'error',
    SlurmdDebug: 'error',
    SlurmdParameters: 'config_overrides',
  }
  const lines = Object.entries(settings).map(([key, value]) => `${key}=${value}`)
  const address = `NodeHostname=${hostname()} NodeAddr=127.0.0.1`
  for (let node = 1; node <= nodes; node++)
    lines.push(`NodeName=n${node} ${address} Port=${ports[node] ?? 0} CPUs=${slots} RealMemory=4000 State=UNKNOWN`)
  lines.push('PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO')
  return `${lines.join('\n')}\n`
}
