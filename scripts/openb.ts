/**
 * The openb lists (a production GPU cluster, Apache-2.0) in virtual time: what is unallocated when as much has arrived as
 * there is, beside the published figures for the same arrival orders. The data is not part of this repository:
 *
 *     scripts/node scripts/openb.ts --data DIRECTORY [--policy fgd,compact,best-fit] [--lists default,gpuspec10] [--seeds 42,43]
 *
 * DIRECTORY (or the environment variable STEAD_OPENB) holds csv/, arrival_order/ and analysis_allo_discrete.csv. Nodes are
 * added in the order of the published tie-break. At each arrival the allocated share is noted; what counts is the mean of
 * those arrivals at which the arrived GPU share, rounded, is 100 %.
 */
import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { gunzipSync } from 'node:zlib'
import { isSteadError } from '../src/base/index.ts'
import { Scheduler, type JobSpec, type NodeSpec, type PolicyName } from '../src/scheduler/index.ts'

const { values } = parseArgs({
  options: {
    data: { type: 'string', default: process.env['STEAD_OPENB'] ?? '' },
    policy: { type: 'string', default: 'best-fit,fgd,compact' },
    lists: { type: 'string', default: '' },
    seeds: { type: 'string', default: '42,43,44,45,46' },
  },
})
const mib = 2 ** 20

function rowsOf(file: string): Record<string, string>[] {
  const [head = '', ...lines] = readFileSync(file, 'utf8').trim().split(/\r?\n/)
  const names = head.split(',')
  return lines.map((line) => Object.fromEntries(line.split(',').map((cell, index) => [names[index] ?? '', cell])))
}

function orders(file: string): Record<string, number[]> {
  return JSON.parse(gunzipSync(readFileSync(file)).toString('utf8')) as Record<string, number[]>
}

interface Task {
  readonly job: Omit<JobSpec, 'name'>
  readonly gpuMilli: number
}

function tasksOf(list: string): Task[] {
  return rowsOf(join(values.data, 'csv', `${list}.csv`)).map((row) => {
    const count = Number(row['num_gpu'])
    const milli = Number(row['gpu_milli'])
    const models = (row['gpu_spec'] ?? '').split('|').filter((model) => model !== '')
    const share = count === 1 && milli < 1000
    const gpu = { ...(share ? { milli } : { count }), ...(models.length === 0 ? {} : { models: [...new Set(models)] }) }
    return {
      job: {
        needs: {
          cpu: `${row['cpu_milli']}m`,
          memory: Number(row['memory_mib']) * mib,
          ...(count === 0 ? {} : { gpu }),
        },
      },
      gpuMilli: count * (share ? milli : 1000),
    }
  })
}

function nodesOf(prefixes: readonly number[]): NodeSpec[] {
  const rows = rowsOf(join(values.data, 'csv', 'openb_node_list_gpu_node.csv')).map(
    (row, index): [number, NodeSpec] => [
      prefixes[index] ?? 0,
      {
        name: row['sn'] ?? '',
        capacity: {
          cpu: `${row['cpu_milli']}m`,
          memory: Number(row['memory_mib']) * mib,
          gpus: { model: row['model'] ?? '', count: Number(row['gpu']) },
        },
      },
    ],
  )
  return rows.sort(([a], [b]) => a - b).map(([, node]) => node)
}

/** Unallocated GPU share in percent when the arrived share is 100 %. */
function run(policy: PolicyName, tasks: readonly Task[], order: readonly number[], nodes: readonly NodeSpec[]): number {
  const capacity = nodes.reduce((sum, { capacity: { gpus } }) => sum + (gpus?.count ?? 0) * 1000, 0)
  const scheduler = new Scheduler({ policy, usual: tasks.map(({ job }) => job.needs) })
  scheduler.apply({ atMs: 0, kind: 'add-nodes', nodes })
  let [arrived, allocated, sum, count] = [0, 0, 0, 0]
  for (const [index, row] of order.entries()) {
    const task = tasks[row]
    if (task === undefined) throw new Error(`the order names row ${row}, which is not in the list`)
    const name = `t${index}`
    arrived += task.gpuMilli
    try {
      const decisions = scheduler.apply({ atMs: index, kind: 'submit', jobs: [{ ...task.job, name }] })
      if (decisions.length > 0) allocated += task.gpuMilli
      else scheduler.apply({ atMs: index, kind: 'cancel', job: name })
    } catch (error) {
      // Some tasks want more than any node of an accepted model has.
      if (!isSteadError(error) || error.code !== 'scheduler.impossible') throw error
    }
    const percent = Math.round((100 * arrived) / capacity)
    if (percent > 100) break
    if (percent < 100) continue
    sum += 100 - (100 * allocated) / capacity
    count++
  }
  return sum / count
}

/** The published figures by list and policy. */
function published(): Map<string, number[]> {
  const found = new Map<string, number[]>()
  for (const row of rowsOf(join(values.data, 'analysis_allo_discrete.csv'))) {
    if (!values.seeds.split(',').includes(row['seed'] ?? '')) continue
    const key = `${row['workload']} ${row['sc_policy']}`
    found.set(key, [...(found.get(key) ?? []), 100 - Number(row['100'])])
  }
  return found
}

function mean(numbers: readonly number[]): number {
  return numbers.reduce((sum, number) => sum + number, 0) / numbers.length
}

if (!existsSync(join(values.data, 'csv'))) {
  process.stderr.write('openb: name the directory of the data with --data or STEAD_OPENB\n')
  process.exit(1)
}
const names: Record<string, string> = { fgd: '06-FGD', 'best-fit': '05-BestFit' }
const lists = readdirSync(join(values.data, 'csv'))
  .filter((file) => file.startsWith('openb_pod_list_'))
  .map((file) => file.replace('.csv', ''))
  .filter((list) => values.lists === '' || values.lists.split(',').includes(list.replace('openb_pod_list_', '')))
const known = published()
const totals = new Map<string, number[]>()
for (const list of lists) {
  const tasks = tasksOf(list)
  const arrival = orders(join(values.data, 'arrival_order', `${list}.json.gz`))
  const prefixes = orders(join(values.data, 'arrival_order', `${list}.nodeprefix.json.gz`))
  const fgd = known.get(`${list} 06-FGD`) ?? []
  for (const policy of values.policy.split(',') as PolicyName[]) {
    const start = process.cpuUsage()
    const seeds = values.seeds.split(',')
    const results = seeds.map((seed) => run(policy, tasks, arrival[seed] ?? [], nodesOf(prefixes[seed] ?? [])))
    const { user } = process.cpuUsage(start)
    const peer = known.get(`${list} ${names[policy] ?? ''}`)
    totals.set(policy, [...(totals.get(policy) ?? []), mean(results)])
    process.stdout.write(
      `${list.replace('openb_pod_list_', '').padEnd(12)} ${policy.padEnd(9)} ${mean(results).toFixed(2).padStart(6)} %` +
        `  (${results.map((one) => one.toFixed(2)).join(' ')})  published ${peer === undefined ? `FGD ${mean(fgd).toFixed(2)}` : mean(peer).toFixed(2)} %` +
        `, ${(user / 1e6 / results.length).toFixed(1)} s CPU a run\n`,
    )
  }
}
for (const [policy, results] of totals)
  process.stdout.write(`${'mean'.padEnd(12)} ${policy.padEnd(9)} ${mean(results).toFixed(2).padStart(6)} %\n`)
