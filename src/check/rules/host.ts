/** Rules about reaching into the machine: mounts that hand it over, and taking more of it than was agreed. */
import { runningContainers } from '../inventory.ts'
import type { Workload } from '../inventory.ts'
import { at } from '../tree.ts'
import { compose, deployment, unit } from './inputs.ts'
import { eachWorkload, fail, listed, pass } from './rule.ts'
import type { Rule, Verdict } from './rule.ts'

const dangerous: readonly (readonly [RegExp, string])[] = [
  [/(?:docker|containerd|crio|podman)\.sock$/, 'whoever reaches it starts containers as root on the machine'],
  [/^\/$/, 'it is the whole machine'],
  [/^\/(?:etc|root|boot|home)(?:\/|$)/, 'it holds the configuration and keys of the machine'],
  [/^\/(?:proc|sys|dev)(?:\/|$)/, 'it is a way to the kernel'],
  [
    /^\/var\/(?:lib\/(?:docker|kubelet|containerd|etcd)|run|log\/pods)(?:\/|$)|^\/run(?:\/|$)/,
    'it holds what other programs of the machine keep there',
  ],
]

function mounts(workload: Workload): Verdict {
  const harmless =
    /^\/(?:etc\/(?:localtime|timezone|ssl|machine-id|hosts|resolv\.conf)|dev\/(?:shm|dri|net|fuse)|lib\/modules)/
  for (const volume of workload.pod.volumes) {
    if (volume.hostPath === null || harmless.test(volume.hostPath)) continue
    const found = dangerous.find(([pattern]) => pattern.test(volume.hostPath ?? ''))
    if (found === undefined) continue
    const writable = runningContainers(workload.pod).some((container) =>
      container.mounts.some((mount) => mount.volume === volume.name && !mount.readOnly),
    )
    const socket = volume.hostPath.endsWith('.sock')
    return fail(
      workload,
      `${volume.hostPath} of the machine is mounted${writable ? '' : ' (to read)'}: ${found[1]}`,
      volume.path,
      {
        left: socket
          ? 'A proxy that allows only the few calls it needs takes its place.'
          : 'What it reads there decides what takes its place.',
        severity: socket || writable ? 'critical' : 'medium',
      },
    )
  }
  return pass(workload)
}

function memoryLimit(workload: Workload): Verdict | null {
  if (workload.platform === 'stead') return pass(workload)
  // A unit that runs once and ends is no neighbour.
  if (workload.platform === 'systemd' && workload.role === 'job') return null
  const without = runningContainers(workload.pod).filter((container) => container.limits['memory'] === undefined)
  const [first] = without
  if (first === undefined) return pass(workload)
  const place = workload.platform === 'kubernetes' ? [...first.path, 'resources', 'limits'] : workload.podPath
  const how = { kubernetes: 'resources.limits.memory', compose: 'mem_limit', systemd: 'MemoryMax=' }
  const field = workload.platform in how ? how[workload.platform as keyof typeof how] : 'a memory limit'
  return fail(workload, `${listed(without.map(({ name }) => name))} may take all memory of the machine`, place, {
    left: `How much it needs is measured, not guessed: set ${field} to about twice what it uses at its busiest.`,
  })
}

export const hostRules: readonly Rule[] = [
  {
    id: 'security.dangerous-mount',
    category: 'security',
    severity: 'critical',
    title: 'Nothing that hands over the machine is mounted',
    reason:
      "The container engine's socket, /etc, /proc and their like lead from the program to root on the machine in one step.",
    reference: 'https://cheatsheetseries.owasp.org/cheatsheets/Docker_Security_Cheat_Sheet.html',
    cause: 'host',
    bad: compose('volumes:\n  - /var/run/docker.sock:/var/run/docker.sock'),
    good: compose('volumes:\n  - data:/data'),
    check: eachWorkload(mounts),
  },
  {
    id: 'security.no-memory-limit',
    category: 'security',
    severity: 'medium',
    title: 'Every program has a memory limit',
    reason: 'One leak otherwise takes the memory of all, and the kernel chooses whom to kill.',
    reference: 'https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/',
    cause: 'limits',
    bad: deployment(),
    good: deployment('resources:\n  limits: { memory: 256Mi }'),
    check: eachWorkload(memoryLimit),
  },
  {
    id: 'security.no-requests',
    category: 'security',
    severity: 'low',
    title: 'Every program says what it needs',
    reason: 'Without requests the scheduler puts everything on one node, and what said nothing is evicted first.',
    reference: 'https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/',
    cause: 'limits',
    bad: deployment(),
    good: deployment('resources:\n  requests: { cpu: 100m, memory: 128Mi }'),
    check: eachWorkload((workload) => {
      if (workload.platform !== 'kubernetes') return null
      // A limit without a request is taken for the request.
      const without = runningContainers(workload.pod).filter(({ requests, limits }) =>
        ['cpu', 'memory'].some((name) => requests[name] === undefined && limits[name] === undefined),
      )
      const [first] = without
      if (first === undefined) return pass(workload)
      return fail(
        workload,
        `${listed(without.map(({ name }) => name))} requests no cpu or no memory`,
        [...first.path, 'resources'],
        {
          left: 'What it needs is measured, not guessed.',
        },
      )
    }),
  },
  {
    id: 'security.writable-root',
    category: 'security',
    severity: 'low',
    title: 'The root file system is read-only',
    reason: 'What cannot be written cannot be changed by who got in, and a restart is truly a fresh start.',
    reference: 'https://kubernetes.io/docs/tasks/configure-pod-container/security-context/',
    cause: 'hardening',
    bad: unit('DynamicUser=no'),
    good: unit('ProtectSystem=strict'),
    check: eachWorkload((workload) => {
      if (workload.platform === 'compose') return null
      const without = runningContainers(workload.pod).filter(({ security }) => security.readOnlyRootFilesystem !== true)
      const [first] = without
      if (first === undefined) return pass(workload)
      const left =
        workload.platform === 'systemd'
          ? 'ProtectSystem=strict with StateDirectory= for what it keeps fits most services.'
          : 'Where it writes is known only to who made the image: those places become emptyDir volumes.'
      const field = workload.platform === 'systemd' ? 'ProtectSystem' : 'securityContext'
      return fail(
        workload,
        `${listed(without.map(({ name }) => name))} can write to its own program files`,
        [...first.path, field],
        { left },
      )
    }),
  },
  {
    id: 'security.shared-home',
    category: 'security',
    severity: 'low',
    title: 'Units see no home directories and no temporary files of others',
    reason: 'Keys and tokens lie in home directories; files in /tmp can be laid in the way.',
    reference: 'https://www.freedesktop.org/software/systemd/man/latest/systemd.exec.html',
    cause: 'hardening',
    bad: unit('User=web'),
    good: unit('User=web\nProtectHome=yes\nPrivateTmp=yes'),
    check: eachWorkload((workload) => {
      if (workload.platform !== 'systemd') return null
      const dynamic = at(workload.tree, 'Service', 'DynamicUser') !== undefined
      const missing = ['ProtectHome', 'PrivateTmp'].filter((key) => at(workload.tree, 'Service', key) === undefined)
      if (missing.length === 0 || dynamic) return pass(workload)
      return fail(workload, `${missing.map((key) => `${key}=`).join(' and ')} is not set`, ['Service'], {
        left: `Add ${missing.map((key) => `${key}=yes`).join(' and ')} unless it works on users' files.`,
      })
    }),
  },
]
