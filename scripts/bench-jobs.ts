/**
 * Submitted jobs in figures: from the submission of an array of `true` to its end, per second, in each isolation, through the
 * socket of a real daemon (four processes, records durable before they count), beside a tuned Slurm 22.05 on the same
 * machine in the same run. Prints a table; decides nothing. Needs Linux and root. A word names one section.

 */
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { availableParallelism, cpus, loadavg } from 'node:os'
import { type Submission, submissionDefaults } from '../src/batch/index.ts'
import { daemonHome, daemonSocket } from '../src/cli/home.ts'
import { operatorClient, type OperatorClient } from '../src/operator/index.ts'
import { DaemonBench, type Role } from '../test/daemon-bench.ts'
import { needsSlurm, Slurm } from '../test/slurm.ts'

/** Tasks at once: as many as the peer has slots. */
const atOnce = 32
const slurmNodes = 4
const roles: readonly Role[] = ['control', 'agent']
const wanted = process.argv.slice(2).filter((word) => !word.startsWith('--'))

function row(what: string, figure: string, goal = ''): void {
  process.stdout.write(`${what.padEnd(52)}  ${figure}${goal === '' ? '' : `   [goal: ${goal}]`}\n`)
}

/** CPU seconds that a process and its children that ended have used. */
function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]?.split(' ') ?? []
  return [11, 12].reduce((sum, index) => sum + Number(fields[index] ?? 0), 0) / 100
}

/**
 * CPU seconds of everything that is started from now on, what has ended included, also while others use the machine: this
 * process goes into an accounting group. Null where there are none (version 1 of the kernel's groups).
 */
class Account implements Disposable {
  static readonly #root = '/sys/fs/cgroup/cpuacct'
  readonly #dir: string

  constructor(name: string) {
    this.#dir = `${Account.#root}/bench-${name}-${process.pid}`
    mkdirSync(this.#dir)
    writeFileSync(`${this.#dir}/cgroup.procs`, String(process.pid))
  }

  static open(name: string): Account | null {
    return existsSync(`${Account.#root}/cgroup.procs`) ? new Account(name) : null
  }

  /** `beside`: another group below the root, whose members came from here. */
  seconds(beside?: string): number {
    const dirs = [this.#dir, ...(beside === undefined ? [] : [`${Account.#root}/${beside}`])]
    const read = (dir: string): number =>
      existsSync(dir) ? Number(readFileSync(`${dir}/cpuacct.usage`, 'latin1')) / 1e9 : 0
    return dirs.reduce((sum, dir) => sum + read(dir), 0)
  }

  [Symbol.dispose](): void {
    for (const pid of readFileSync(`${this.#dir}/cgroup.procs`, 'latin1').split('\n'))
      if (pid !== '') writeFileSync(`${Account.#root}/cgroup.procs`, pid)
    rmdirSync(this.#dir)
  }
}

async function array(
  batch: OperatorClient['batch'],
  tasks: number,
  isolation: Submission['isolation'],
): Promise<number> {
  const fromMs = performance.now()
  const job = await batch.submit({
    ...submissionDefaults,
    name: 'true',
    argv: ['/bin/true'],
    isolation,
    needs: { ...submissionDefaults.needs, cpu: 0, memoryBytes: 16 * 2 ** 20, pidsMax: 8 },
    array: { ranges: [{ from: 1, to: tasks, step: 1 }], atMost: atOnce },
  })
  for await (const { endedMs, phase } of batch.watch(job, AbortSignal.timeout(120_000)))
    if (endedMs !== null && phase !== 'succeeded') throw new Error(`job ${job} is ${phase}`)
  return (performance.now() - fromMs) / 1000
}

row('machine', `${availableParallelism()} x ${cpus()[0]?.model ?? ''}, load ${loadavg()[0]?.toFixed(1) ?? ''}`)
const withoutSlurm = needsSlurm()
let peer = Number.NaN
let peerMs = Number.NaN
if (withoutSlurm !== false) row('Slurm', withoutSlurm)
else if (wanted.length === 0 || wanted.includes('slurm')) {
  using account = Account.open('slurm')
  await using slurm = await Slurm.start(slurmNodes, atOnce)
  await slurm.array(20)
  const before = account?.seconds() ?? Number.NaN
  const seconds = await slurm.array(500)
  peer = 500 / seconds
  peerMs = (((account?.seconds() ?? Number.NaN) - before) * 1000) / 500
  row(`${slurm.version()}, tuned, ${slurmNodes} x ${atOnce} slots, array of 500`, `${peer.toFixed(1)} jobs/s`)
  row('  CPU of a job', `${peerMs.toFixed(2)} ms`)
}

{
  using account = Account.open('stead')
  await using daemon = await DaemonBench.start()
  process.env['STEAD_RUN'] = daemon.bench.env['STEAD_RUN']
  process.env['STEAD_STATE'] = daemon.bench.env['STEAD_STATE']
  const client = await operatorClient(daemonSocket())
  if (client === null) throw new Error('the daemon does not answer')
  const used = (): number => account?.seconds(`stead-${daemonHome().key}`) ?? Number.NaN
  const sections = [
    { name: 'none', what: 'without a sandbox', tasks: 3000, factor: 10 },
    { name: 'shared', what: 'sharing sandboxes', tasks: 3000, factor: 4 },
    // What starts them is made first: a short array is mostly that.
    { name: 'own', what: 'a sandbox for each', tasks: 400, factor: 1.5 },
    { name: 'own', what: 'a sandbox for each', tasks: 2000, factor: 1.5 },
  ] as const
  for (const { name, what, tasks, factor } of sections) {
    if (wanted.length > 0 && !wanted.includes(name)) continue
    await array(client.batch, 64, name)
    const before = [used(), ...roles.map((role) => cpuSeconds(daemon.pidOf(role)))]
    const seconds = await array(client.batch, tasks, name)
    const after = [used(), ...roles.map((role) => cpuSeconds(daemon.pidOf(role)))]
    const rate = tasks / seconds
    const times = Number.isNaN(peer) ? '' : ` (${(rate / peer).toFixed(1)} x Slurm)`
    row(`jobs, ${what}, array of ${tasks}`, `${rate.toFixed(1)} jobs/s${times}`, `${factor} x Slurm`)
    const [all = 0, control = 0, agent = 0] = after.map(
      (value, index) => ((value - (before[index] ?? 0)) * 1000) / tasks,
    )
    const parts = `control ${control.toFixed(2)}, agent ${agent.toFixed(2)}, all else ${(all - control - agent).toFixed(2)}`
    row('  CPU of a job', `${all.toFixed(2)} ms: ${parts} (Slurm takes ${(peerMs / all).toFixed(1)} x as much)`)
  }
}
