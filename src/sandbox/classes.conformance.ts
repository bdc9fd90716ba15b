/**
 * Conformance cases about classes of CPU and devices. What counts is what the kernel says of the program, never how fast it
 * was.
 */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { until } from './bench.conformance.ts'
import type { ConformanceCase } from './bench.conformance.ts'
import type { ReservedCpu } from './cpu-class.ts'

const reserved: ReservedCpu = {
  kind: 'reserved',
  runtimeUs: 1000,
  periodUs: 100_000,
  deadlineUs: 50_000,
  core: 0,
  policy: 'deadline',
}

/** Policy, priority and, by deadline, the three times, as the kernel has them. */
function policyOf(pid: number): string {
  return spawnSync('chrt', ['--pid', String(pid)], { encoding: 'utf8' }).stdout
}

function processorsOf(pid: number): string {
  return /^Cpus_allowed_list:\s*(.*)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? ''
}

/** The directory of the group in a hierarchy of limit groups, as its member sees it from outside. */
function groupOf(pid: number, controller: string): string {
  const text = readFileSync(`/proc/${pid}/cgroup`, 'utf8')
  const own = new RegExp(`^\\d+:(?:[a-z,]*\\b)?${controller}(?:,[a-z,]*)?:(.*)$`, 'm').exec(text)?.[1]
  return own === undefined
    ? `/sys/fs/cgroup${/^0::(.*)$/m.exec(text)?.[1] ?? ''}`
    : `/sys/fs/cgroup/${controller}${own}`
}

/** Whether the kernel keeps sets of processors, in either version of its groups. */
function hasProcessorSets(pid: number): boolean {
  return existsSync('/sys/fs/cgroup/cpuset/cgroup.procs') || existsSync(`${groupOf(pid, 'cpuset')}/cpuset.cpus`)
}

export const classCases: readonly ConformanceCase[] = [
  [
    'time is reserved by deadline for the first thread, which may start others',
    async (bench) => {
      const spec = bench.spec('true & wait; while ! [ -e /tmp/never ]; do sleep 1; done', { cpu: reserved })
      if (bench.driver.capabilities.deadlineCpu === 'refused')
        return void (await bench.refused(spec, 'sandbox.refused'))
      const sandbox = await bench.start(spec)
      const said = policyOf(sandbox.pid)
      assert.match(said, /policy: SCHED_DEADLINE/)
      assert.match(said, /parameters: 1000000\/50000000\/100000000/)
      if (hasProcessorSets(sandbox.pid)) assert.equal(processorsOf(sandbox.pid), String(availableParallelism() - 1))
      let child = 0
      await until('what it starts', () => {
        child = sandbox.members().find((pid) => pid !== sandbox.pid && parentOf(pid) === sandbox.pid) ?? 0
        return child > 0
      })
      assert.match(policyOf(child), /policy: SCHED_OTHER/)
      await sandbox.kill()
    },
  ],
  [
    'time is reserved first in first out for all that it starts, and no more of it than that',
    async (bench) => {
      const spec = bench.spec('sleep 600 & wait', { cpu: { ...reserved, policy: 'fifo' } })
      if (bench.driver.capabilities.fifoCpu === 'refused') return void (await bench.refused(spec, 'sandbox.refused'))
      const sandbox = await bench.start(spec)
      await until('what it starts', () => sandbox.members().some((pid) => parentOf(pid) === sandbox.pid))
      const own = [sandbox.pid, ...sandbox.members().filter((pid) => parentOf(pid) === sandbox.pid)]
      for (const pid of own) {
        assert.match(policyOf(pid), /policy: SCHED_FIFO/)
        if (hasProcessorSets(pid)) assert.equal(processorsOf(pid), String(availableParallelism() - 1))
      }
      const group = groupOf(sandbox.pid, 'cpu')
      if (existsSync(`${group}/cpu.rt_runtime_us`)) {
        assert.equal(readFileSync(`${group}/cpu.rt_runtime_us`, 'utf8').trim(), '1000')
        assert.equal(readFileSync(`${group}/cpu.rt_period_us`, 'utf8').trim(), '100000')
      }
      await sandbox.kill()
    },
  ],
  [
    'a program of best effort gets what nobody else wants',
    async (bench) => {
      const spec = bench.spec('sleep 600', { cpu: { kind: 'best-effort' } })
      if (bench.driver.capabilities.bestEffortCpu === 'refused')
        return void (await bench.refused(spec, 'sandbox.refused'))
      const sandbox = await bench.start(spec)
      const group = groupOf(sandbox.pid, 'cpu')
      if (existsSync(`${group}/cpu.idle`)) assert.equal(readFileSync(`${group}/cpu.idle`, 'utf8').trim(), '1')
      else assert.match(readFileSync(`${group}/cpu.shares`, 'utf8'), /^2$/m)
      await sandbox.kill()
    },
  ],
  [
    'what cannot be reserved is refused, and nothing is left',
    async (bench) => {
      for (const wrong of [
        { runtimeUs: 0 },
        { runtimeUs: 60_000 },
        { deadlineUs: 200_000 },
        { core: -1 },
        { runtimeUs: 1.5 },
      ])
        await bench.refused(bench.spec('true', { cpu: { ...reserved, ...wrong } }), 'sandbox.bad-spec')
      if (bench.driver.capabilities.deadlineCpu === 'refused') return
      const beyond = { ...reserved, core: 100_000 }
      await bench.refused(bench.spec('true', { cpu: beyond }), 'sandbox.limits-failed')
    },
  ],
  [
    'a program that was given a device has it, and no other',
    async (bench) => {
      const devices = ['/dev/fuse', '/dev/kvm', '/dev/net/tun', '/dev/hwrng'].filter((path) => existsSync(path))
      const [device] = devices
      if (device === undefined) return
      const spec = bench.spec(`ls -d ${devices.join(' ')} 2>/dev/null; head -c 1 <${device}`, { devices: [device] })
      if (bench.driver.capabilities.devices === 'refused') return void (await bench.refused(spec, 'sandbox.refused'))
      await bench.refused(bench.spec('true', { devices: ['/etc/shadow'] }), 'sandbox.bad-spec')
      const { lines } = await bench.run(spec)
      const seen = devices.filter((path) => lines.includes(path))
      assert.deepEqual(seen, bench.hostPaths ? devices : [device])
      // Its permissions stand.
      const isClosed = (statSync(device).mode & 0o006) !== 0o006
      if (isClosed && !bench.hostPaths) assert.ok(lines.some((line) => /Permission denied|cannot open/.test(line)))
    },
  ],
]

function parentOf(pid: number): number {
  return Number(/^PPid:\s*(\d+)$/m.exec(statusOf(pid))?.[1] ?? 0)
}

function statusOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/status`, 'utf8')
  } catch {
    return ''
  }
}
