/**
 * One rule for each check of the Pod Security Standards. Pods are decided by the checks themselves, in the API server's words;
 * Compose services and units, which the standards do not name, by the same checks where they mean something there.
 */
import { runningContainers } from '../inventory.ts'
import type { Inventory, Workload } from '../inventory.ts'
import { checksOf, standardChecks, violations } from '../pod-security/evaluate.ts'
import { formatLevelVersion, newestMinor, policyOf } from '../pod-security/versions.ts'
import type { LevelVersion } from '../pod-security/versions.ts'
import { compose, deployment, withObjects } from './inputs.ts'
import { mendPod } from './pod-mending.ts'
import { eachWorkload, fail, listed, pass, set } from './rule.ts'
import type { CauseId, CheckOptions, Edit, Example, Rule, Severity, Verdict } from './rule.ts'

const page = 'https://kubernetes.io/docs/concepts/security/pod-security-standards/'

interface Standard {
  readonly check: string
  readonly title: string
  readonly reason: string
  readonly severity: Severity
  readonly cause: CauseId
  readonly bad: Example
  readonly good: Example
}

const security = (fields: string): Example => deployment(`securityContext:\n${fields.replace(/^/gm, '  ')}`)

/** In a namespace that asks for baseline, where the stricter check of restricted does not take a check's place. */
function heldToBaseline(example: Example): Example {
  const labels = '{ pod-security.kubernetes.io/enforce: baseline }'
  return withObjects(example, `apiVersion: v1\nkind: Namespace\nmetadata:\n  name: default\n  labels: ${labels}`)
}

const standards: readonly Standard[] = [
  {
    check: 'appArmorProfile',
    title: "The runtime's AppArmor profile stays on",
    reason: 'Without it a program that was taken over may write to places in /proc and /sys that the profile closes.',
    severity: 'high',
    cause: 'hardening',
    bad: security('appArmorProfile: { type: Unconfined }'),
    good: security('appArmorProfile: { type: RuntimeDefault }'),
  },
  {
    check: 'capabilities_baseline',
    title: 'No capabilities beyond the default ones are added',
    reason: 'Capabilities such as SYS_ADMIN, SYS_PTRACE or NET_ADMIN are steps to root on the node.',
    severity: 'high',
    cause: 'hardening',
    bad: compose('cap_add: [SYS_ADMIN]'),
    good: compose('cap_add: [NET_BIND_SERVICE]'),
  },
  {
    check: 'hostNamespaces',
    title: 'Network, process and IPC namespaces of the node are not shared',
    reason:
      'With hostNetwork a program sees and reaches what listens on the node alone; with hostPID it sees and can signal every process of it.',
    severity: 'high',
    cause: 'host',
    bad: deployment('', 'hostNetwork: true'),
    good: deployment(),
  },
  {
    check: 'hostPathVolumes',
    title: 'No directory of the node is mounted',
    reason:
      "A directory of the node outlives the pod, belongs to whoever comes next, and is a way to the node's own files.",
    severity: 'high',
    cause: 'host',
    bad: heldToBaseline(deployment('', 'volumes:\n  - name: data\n    hostPath: { path: /srv }')),
    good: heldToBaseline(deployment('', 'volumes:\n  - name: data\n    emptyDir: {}')),
  },
  {
    check: 'hostPorts',
    title: 'No port of the node is taken',
    reason: 'A host port is open on the node past every network policy, and two pods that want it cannot share a node.',
    severity: 'medium',
    cause: 'host',
    bad: deployment('ports:\n  - containerPort: 8080\n    hostPort: 8080'),
    good: deployment('ports:\n  - containerPort: 8080'),
  },
  {
    check: 'hostProbesAndHostLifecycle',
    title: 'Probes ask the pod itself, no other host',
    reason:
      "The kubelet sends probes from the node: with a host of the pod's choosing it can be made to ask what only the node reaches.",
    severity: 'medium',
    cause: 'network',
    bad: deployment('livenessProbe:\n  httpGet: { host: 10.0.0.1, port: 80 }'),
    good: deployment('livenessProbe:\n  httpGet: { port: 80 }'),
  },
  {
    check: 'privileged',
    title: 'No container is privileged',
    reason: 'A privileged container is root on the node: it sees all devices, and nothing of the sandbox is left.',
    severity: 'critical',
    cause: 'host',
    bad: security('privileged: true'),
    good: security('privileged: false'),
  },
  {
    check: 'procMount',
    title: 'The masks over /proc stay on',
    reason: 'Unmasked, /proc shows and lets change things of the whole node.',
    severity: 'high',
    cause: 'hardening',
    bad: heldToBaseline(security('procMount: Unmasked')),
    good: heldToBaseline(security('procMount: Default')),
  },
  {
    check: 'seLinuxOptions',
    title: 'SELinux types stay those for containers',
    reason: 'Other types, users and roles take the label away that keeps a container apart from the node.',
    severity: 'high',
    cause: 'hardening',
    bad: security('seLinuxOptions: { type: spc_t }'),
    good: security('seLinuxOptions: { type: container_t }'),
  },
  {
    check: 'seccompProfile_baseline',
    title: 'The system call filter is not switched off',
    reason:
      'Unconfined, a program may make every system call of the kernel, the ones that past escapes used among them.',
    severity: 'high',
    cause: 'hardening',
    bad: compose('security_opt: [seccomp:unconfined]'),
    good: compose('security_opt: [no-new-privileges:true]'),
  },
  {
    check: 'sysctls',
    title: 'Only sysctls that concern one pod alone are set',
    reason: 'Others change how the whole node behaves.',
    severity: 'medium',
    cause: 'host',
    bad: deployment('', 'securityContext:\n  sysctls:\n    - { name: kernel.msgmax, value: "65536" }'),
    good: deployment('', 'securityContext:\n  sysctls:\n    - { name: net.ipv4.tcp_syncookies, value: "1" }'),
  },
  {
    check: 'windowsHostProcess',
    title: 'No Windows container is a process of the host',
    reason: 'Such a container is a privileged process on the node.',
    severity: 'critical',
    cause: 'host',
    bad: security('windowsOptions: { hostProcess: true }'),
    good: security('windowsOptions: { hostProcess: false }'),
  },
  {
    check: 'allowPrivilegeEscalation',
    title: 'A program cannot gain rights it was not started with',
    reason: 'Set-user-ID programs in the image otherwise lead from a taken-over program to root in the container.',
    severity: 'medium',
    cause: 'hardening',
    bad: deployment(),
    good: security('allowPrivilegeEscalation: false'),
  },
  {
    check: 'capabilities_restricted',
    title: 'All capabilities are dropped',
    reason:
      'Few programs need any of the fourteen that a container gets by default; raw sockets and changing owners are among them.',
    severity: 'medium',
    cause: 'hardening',
    bad: deployment(),
    good: security('capabilities:\n  drop: [ALL]'),
  },
  {
    check: 'procMount_restricted',
    title: 'The masks over /proc stay on, with users of its own too',
    reason: 'Unmasked, /proc shows things of the whole node.',
    severity: 'medium',
    cause: 'hardening',
    bad: deployment('securityContext:\n  procMount: Unmasked', 'hostUsers: false'),
    good: deployment('securityContext:\n  procMount: Default', 'hostUsers: false'),
  },
  {
    check: 'restrictedVolumes',
    title: 'Volumes are of kinds that the cluster manages',
    reason: "Volumes that name a server or a node's directory in the pod go past who may use which storage.",
    severity: 'medium',
    cause: 'host',
    bad: deployment('', 'volumes:\n  - name: data\n    nfs: { server: 10.0.0.1, path: /data }'),
    good: deployment('', 'volumes:\n  - name: data\n    persistentVolumeClaim: { claimName: data }'),
  },
  {
    check: 'runAsNonRoot',
    title: 'Programs do not run as root',
    reason: 'Root in a container is root for the kernel: every gap in the sandbox is then a gap in the node.',
    severity: 'medium',
    cause: 'hardening',
    bad: deployment(),
    good: deployment('', 'securityContext:\n  runAsNonRoot: true'),
  },
  {
    check: 'runAsUser',
    title: 'No user number 0 is set',
    reason: 'It is root, whatever the image says.',
    severity: 'medium',
    cause: 'hardening',
    bad: deployment('', 'securityContext:\n  runAsUser: 0'),
    good: deployment('', 'securityContext:\n  runAsUser: 10001'),
  },
  {
    check: 'seccompProfile_restricted',
    title: 'A system call filter is set',
    reason:
      'Kubernetes sets none by itself: without the field a program may make every system call, unless the kubelet was configured otherwise.',
    severity: 'medium',
    cause: 'hardening',
    bad: deployment(),
    good: deployment('', 'securityContext:\n  seccompProfile: { type: RuntimeDefault }'),
  },
]

/** `pod-security.` and the check's own name, with dashes. */
export function standardRuleId(check: string): string {
  return `pod-security.${check
    .replace(/_/g, '-')
    .replace(/SELinux|seLinux/, 'selinux')
    .replace(/([a-z])([A-Z])/g, '$1-$2')
    .toLowerCase()}`
}

export const podStandardRules: readonly Rule[] = standards.map((standard) => ({
  id: standardRuleId(standard.check),
  category: 'security',
  severity: standard.severity,
  title: standard.title,
  reason: standard.reason,
  reference: page,
  cause: standard.cause,
  bad: standard.bad,
  good: standard.good,
  check: eachWorkload((workload, inventory, options) => {
    if (workload.platform === 'kubernetes') return decidePod(workload, standard.check, inventory, options)
    return decideOther(workload, standard.check)
  }),
}))

/** What a pod is held to: what its namespace enforces, where the namespace is part of the input and says so. */
export function askedOf(workload: Workload, inventory: Inventory, options: CheckOptions): LevelVersion {
  const namespace = inventory.namespaces.find((candidate) => candidate.name === workload.namespace)
  const labels = namespace?.labels ?? {}
  return labels['pod-security.kubernetes.io/enforce'] === undefined ? options.standard : policyOf(labels).policy.enforce
}

const decisions = new WeakMap<Workload, { readonly asked: string; readonly found: ReturnType<typeof violations> }>()

function violationsOf(workload: Workload, asked: LevelVersion): ReturnType<typeof violations> {
  const key = formatLevelVersion(asked)
  const known = decisions.get(workload)
  if (known?.asked === key) return known.found
  const found = violations(workload.pod, asked)
  decisions.set(workload, { asked: key, found })
  return found
}

function decidePod(workload: Workload, check: string, inventory: Inventory, options: CheckOptions): Verdict | null {
  const asked = askedOf(workload, inventory, options)
  if (asked.level === 'privileged') return null
  const found = violationsOf(workload, asked)
  const violation = found.find((candidate) => candidate.check === check)
  if (violation !== undefined) {
    const { edits, left, path } = mendPod(workload, check)
    const detail = violation.detail === '' ? violation.reason : `${violation.reason} (${violation.detail})`
    return fail(workload, detail, path, left === null ? { edits } : { edits, left })
  }
  const minor = asked.version === 'latest' ? newestMinor : Math.min(asked.version, newestMinor)
  return checksOf(asked.level, minor).some((candidate) => candidate.id === check) ? pass(workload) : null
}

/** The checks that mean something in Compose files and units, in their own words. */
function decideOther(workload: Workload, check: string): Verdict | null {
  if (workload.platform === 'stead')
    return violations(workload.pod, { level: 'restricted', version: 'latest' }).some((found) => found.check === check)
      ? null
      : pass(workload)
  const standard = standardChecks.find((candidate) => candidate.id === check)
  if (standard === undefined || !(wording[workload.platform]?.has(check) ?? false)) return null
  if (standard.decide(workload.pod, newestMinor) === null) return pass(workload)
  const words = wording[workload.platform]?.get(check)
  if (words === undefined) return null
  const names = listed(runningContainers(workload.pod).map((container) => container.name))
  const { field, message, edits, left } = words(workload, names)
  return fail(workload, message, [...workload.podPath, field], left === null ? { edits } : { edits, left })
}

interface Words {
  readonly field: string
  readonly message: string
  readonly edits: readonly Edit[]
  readonly left: string | null
}

const knowImage = 'Whether the image can do without is not said here: try it, and keep what it needs.'

const wording: Readonly<Record<string, ReadonlyMap<string, (workload: Workload, names: string) => Words>>> = {
  compose: new Map<string, (workload: Workload, names: string) => Words>([
    [
      'privileged',
      () => ({
        field: 'privileged',
        message: 'privileged: true makes it root on the machine',
        edits: [],
        left: 'What it needs of the machine decides which devices and cap_add take its place.',
      }),
    ],
    [
      'hostNamespaces',
      () => ({
        field: 'network_mode',
        message: 'it shares namespaces of the machine (network_mode, pid or ipc: host)',
        edits: [],
        left: 'Publish the ports it needs instead.',
      }),
    ],
    [
      'capabilities_baseline',
      (workload) => ({
        field: 'cap_add',
        message: `cap_add gives it ${listed(workload.pod.containers.flatMap((container) => container.security.capabilities?.add ?? []))}`,
        edits: [],
        left: knowImage,
      }),
    ],
    [
      'seccompProfile_baseline',
      () => ({
        field: 'security_opt',
        message: 'seccomp:unconfined switches the system call filter off',
        edits: [],
        left: knowImage,
      }),
    ],
    [
      'appArmorProfile',
      () => ({
        field: 'security_opt',
        message: 'apparmor:unconfined switches the AppArmor profile off',
        edits: [],
        left: knowImage,
      }),
    ],
    [
      'sysctls',
      (workload) => ({
        field: 'sysctls',
        message: `it sets ${listed(workload.pod.sysctls)}`,
        edits: [],
        left: knowImage,
      }),
    ],
    [
      'allowPrivilegeEscalation',
      (workload) => ({
        field: 'security_opt',
        message: 'programs in it can gain rights (no no-new-privileges)',
        edits: [appendTo(workload, 'security_opt', 'no-new-privileges:true')],
        left: null,
      }),
    ],
    [
      'runAsNonRoot',
      () => ({
        field: 'user',
        message: 'no user is set, so the image decides, and most decide for root',
        edits: [],
        left: 'Which user the image is made for is not said here.',
      }),
    ],
    [
      'runAsUser',
      () => ({
        field: 'user',
        message: 'it runs as user 0, which is root',
        edits: [],
        left: 'Which user the image is made for is not said here.',
      }),
    ],
  ]),
  systemd: new Map<string, (workload: Workload, names: string) => Words>([
    [
      'runAsNonRoot',
      () => ({
        field: 'User',
        message: 'it runs as root: neither User= nor DynamicUser= is set',
        edits: [],
        left: 'DynamicUser=yes fits most services; which files it must own is not said here.',
      }),
    ],
    [
      'allowPrivilegeEscalation',
      () => ({
        field: 'NoNewPrivileges',
        message: 'programs in it can gain rights: NoNewPrivileges= is not set',
        edits: [],
        left: 'Add NoNewPrivileges=yes.',
      }),
    ],
  ]),
}

function appendTo(workload: Workload, field: string, value: string): Edit {
  const path = [...workload.podPath, field]
  return set(workload, [...path, '+'], value)
}
