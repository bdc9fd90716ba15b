/** Rules about going on when something fails: copies, probes, budgets, restarts. */
import { placeOf, runningContainers, selects, waysTo } from '../inventory.ts'
import type { Budget, Inventory, Workload } from '../inventory.ts'
import { isDataStore } from '../versions/image.ts'
import { at } from '../tree.ts'
import { compose, deployment, unit, withObjects, yaml } from './inputs.ts'
import { eachWorkload, fail, listed, pass, set, unknown } from './rule.ts'
import type { Rule, Verdict } from './rule.ts'

const service =
  'apiVersion: v1\nkind: Service\nmetadata: { name: web }\nspec:\n  selector: { app: web }\n  ports: [{ port: 80 }]'
const budget = (spec: string): string =>
  `apiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: { name: web }\nspec:\n  selector: { matchLabels: { app: web } }\n  ${spec}`

/** The least number of instances that there will be; null when nothing in the input says. */
export function instancesOf(workload: Workload, inventory: Inventory): number | null {
  const scaler = inventory.autoscalers.find(
    ({ target, targetKind, namespace }) =>
      target === workload.name && targetKind === workload.kind && namespace === workload.namespace,
  )
  return scaler === undefined ? workload.replicas : scaler.minReplicas
}

function isServed(workload: Workload, inventory: Inventory): boolean {
  return workload.role === 'service' && waysTo(inventory, workload).length > 0
}

function oneCopy(workload: Workload, inventory: Inventory): Verdict | null {
  if (workload.platform !== 'kubernetes' && workload.platform !== 'stead') return null
  if (!isServed(workload, inventory)) return null
  const copies = instancesOf(workload, inventory)
  if (copies === null) return unknown(workload, 'how many instances there are is decided elsewhere')
  if (copies === 0) return null
  if (copies > 1) return pass(workload)
  const store =
    workload.stateful || runningContainers(workload.pod).some(({ image }) => image !== null && isDataStore(image))
  const path = workload.platform === 'kubernetes' ? ['spec', 'replicas'] : workload.podPath
  return fail(workload, 'others depend on it, and there is one of it', path, {
    left: store
      ? 'It keeps state: a second copy needs replication that the program itself must do, or a standby.'
      : 'Whether two can run side by side is known only to who made it: programs that keep nothing between requests can.',
    severity: store ? 'medium' : 'low',
  })
}

function spread(workload: Workload, inventory: Inventory): Verdict | null {
  if (workload.platform !== 'kubernetes' || workload.role !== 'service') return null
  const copies = instancesOf(workload, inventory)
  if (copies === null || copies < 2) return null
  if (workload.pod.spread !== 'none') return pass(workload)
  const labels = Object.keys(workload.pod.labels).length > 0
  const path = [...workload.podPath, 'topologySpreadConstraints']
  const constraint = {
    maxSkew: 1,
    topologyKey: 'kubernetes.io/hostname',
    whenUnsatisfiable: 'ScheduleAnyway',
    labelSelector: { matchLabels: { ...workload.pod.labels } },
  }
  return fail(
    workload,
    `its ${copies} instances may all stand on one node`,
    path,
    labels ? { edits: [set(workload, path, [constraint])] } : { left: 'Its pods have no labels to tell them by.' },
  )
}

function budgetsOf(workload: Workload, inventory: Inventory): readonly Budget[] {
  return inventory.budgets.filter(
    (found) =>
      found.namespace === workload.namespace &&
      (found.selector === null || selects(found.selector, workload.pod.labels)),
  )
}

function disruption(workload: Workload, inventory: Inventory): Verdict | null {
  if (workload.platform !== 'kubernetes' || !isServed(workload, inventory)) return null
  const copies = instancesOf(workload, inventory)
  if (copies === null || copies < 2) return null
  if (budgetsOf(workload, inventory).length > 0) return pass(workload)
  return fail(
    workload,
    'nothing keeps an upgrade of the nodes from taking all its instances at once',
    ['metadata', 'name'],
    {
      left: 'Add a PodDisruptionBudget with maxUnavailable: 1.',
    },
  )
}

function blocking(found: Budget, inventory: Inventory): Verdict {
  const chosen = inventory.workloads.filter(
    (workload) =>
      workload.platform === 'kubernetes' &&
      workload.namespace === found.namespace &&
      found.selector !== null &&
      selects(found.selector, workload.pod.labels),
  )
  if (found.maxUnavailable === '0' || found.maxUnavailable === '0%')
    return fail(found, 'it lets no instance be moved, so no node can be emptied', ['spec', 'maxUnavailable'], {
      left: 'Set it to 1.',
    })
  const [workload] = chosen
  if (found.selector === null || workload === undefined)
    return unknown(found, 'whom it is for is not part of the input', 'spec', 'selector')
  const copies = instancesOf(workload, inventory)
  const keep = found.minAvailable === '100%' ? copies : Number(found.minAvailable ?? Number.NaN)
  if (copies !== null && keep !== null && keep >= copies && copies > 0)
    return fail(
      found,
      `it keeps ${String(keep)} of ${copies} instances, so no node can be emptied`,
      ['spec', 'minAvailable'],
      { left: 'Run one more instance, or keep one less.' },
    )
  return pass(found)
}

function readiness(workload: Workload, inventory: Inventory): Verdict | null {
  if (workload.platform !== 'kubernetes' || !isServed(workload, inventory)) return null
  const serving = runningContainers(workload.pod).filter(({ role }) => role === 'main')
  if (serving.length === 0) return null
  if (serving.some((container) => container.readiness)) return pass(workload)
  const [first] = serving
  return fail(
    workload,
    'it gets requests from the moment it starts, ready or not',
    first === undefined ? [] : first.path,
    {
      left: 'What it answers when it is ready is known only to who made it.',
    },
  )
}

function restarts(workload: Workload): Verdict | null {
  if (workload.restarts === null || workload.role === 'job') return null
  if (workload.restarts) return pass(workload)
  if (workload.platform === 'compose') {
    const path = [...workload.podPath, 'restart']
    if (at(workload.tree, ...path) !== undefined)
      return fail(workload, 'it is told to stay down after a crash', path, {
        left: 'It was written on purpose: ask who did.',
      })
    return fail(workload, 'it stays down after a crash, and after a restart of the machine', path, {
      edits: [set(workload, path, 'unless-stopped')],
    })
  }
  return fail(workload, 'it stays down after a crash', workload.podPath, {
    left: 'Add Restart=on-failure and RestartSec=1.',
  })
}

function waits(workload: Workload, inventory: Inventory): Verdict | null {
  if (workload.platform !== 'compose' || workload.dependsOn.length === 0) return null
  const hasty = workload.dependsOn.filter(({ name, healthy }) => {
    const other = inventory.workloads.find(
      (candidate) => candidate.source === workload.source && candidate.name === name,
    )
    const store =
      other !== undefined && runningContainers(other.pod).some(({ image }) => image !== null && isDataStore(image))
    return store && !healthy
  })
  if (hasty.length === 0) return pass(workload)
  return fail(
    workload,
    `it starts when ${listed(hasty.map(({ name }) => name))} was started, not when it answers`,
    [...workload.podPath, 'depends_on'],
    {
      left: 'Give the other a healthcheck and wait for condition: service_healthy, or let the program try again.',
    },
  )
}

function atOnce(workload: Workload, inventory: Inventory): Verdict | null {
  if (workload.platform !== 'kubernetes' || workload.kind !== 'Deployment' || !isServed(workload, inventory))
    return null
  if (!workload.replacedAtOnce) return pass(workload)
  const claims = workload.pod.volumes.some(({ type }) => type === 'persistentVolumeClaim')
  if (claims) return pass(workload)
  return fail(workload, 'every release stops all instances before the first new one starts', ['spec', 'strategy'], {
    left: 'Whether two versions may run side by side is known only to who made it.',
  })
}

export const availabilityRules: readonly Rule[] = [
  {
    id: 'availability.one-copy',
    category: 'availability',
    severity: 'low',
    title: 'What others depend on runs more than once',
    reason: 'With one instance every crash, every release and every move of a node is an outage.',
    reference: 'https://kubernetes.io/docs/concepts/workloads/controllers/deployment/',
    cause: 'copies',
    bad: withObjects(deployment('', '', 'replicas: 1'), service),
    good: withObjects(deployment('', '', 'replicas: 2'), service),
    check: eachWorkload(oneCopy),
  },
  {
    id: 'availability.same-node',
    category: 'availability',
    severity: 'medium',
    title: 'Instances stand on different nodes',
    reason: 'Three instances on one node go down with it together: the second and third bought nothing.',
    reference: 'https://kubernetes.io/docs/concepts/scheduling-eviction/topology-spread-constraints/',
    cause: 'copies',
    bad: deployment(),
    good: deployment(
      '',
      'topologySpreadConstraints:\n  - { maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: ScheduleAnyway, labelSelector: { matchLabels: { app: web } } }',
    ),
    check: eachWorkload(spread),
  },
  {
    id: 'availability.no-disruption-budget',
    category: 'availability',
    severity: 'low',
    title: 'Moving nodes leaves instances running',
    reason: 'When nodes are emptied one after another, all instances can be on the way at the same time.',
    reference: 'https://kubernetes.io/docs/tasks/run-application/configure-pdb/',
    cause: 'copies',
    bad: withObjects(deployment(), service),
    good: withObjects(withObjects(deployment(), service), budget('maxUnavailable: 1')),
    check: eachWorkload(disruption),
  },
  {
    id: 'availability.blocking-budget',
    category: 'availability',
    severity: 'medium',
    title: 'Nodes can be emptied',
    reason: 'A budget that allows nothing stops every upgrade of the nodes, until somebody deletes it in a hurry.',
    reference: 'https://kubernetes.io/docs/tasks/run-application/configure-pdb/',
    cause: 'wiring',
    bad: withObjects(deployment(), budget('minAvailable: 2')),
    good: withObjects(deployment(), budget('minAvailable: 1')),
    check: function* (inventory) {
      for (const found of inventory.budgets) yield blocking(found, inventory)
    },
  },
  {
    id: 'availability.no-readiness',
    category: 'availability',
    severity: 'medium',
    title: 'Requests go only to instances that are ready',
    reason:
      'Without a probe every release answers some requests with errors, and a hung instance gets its share forever.',
    reference: 'https://kubernetes.io/docs/tasks/configure-pod-container/configure-liveness-readiness-startup-probes/',
    cause: 'health',
    bad: withObjects(deployment(), service),
    good: withObjects(deployment('readinessProbe:\n  httpGet: { path: /healthz, port: 8080 }'), service),
    check: eachWorkload(readiness),
  },
  {
    id: 'availability.no-restart',
    category: 'availability',
    severity: 'medium',
    title: 'What crashes is started again',
    reason: 'A crash at night is otherwise an outage until somebody comes.',
    reference: 'https://docs.docker.com/engine/containers/start-containers-automatically/',
    cause: 'health',
    bad: compose('init: true'),
    good: compose('restart: unless-stopped'),
    check: eachWorkload(restarts),
  },
  {
    id: 'availability.no-healthcheck',
    category: 'availability',
    severity: 'low',
    title: 'Services on one machine say how they are',
    reason: 'A program that hangs still runs: without a health check nobody sees the difference.',
    reference: 'https://docs.docker.com/reference/compose-file/services/#healthcheck',
    cause: 'health',
    bad: compose('restart: always'),
    good: compose('healthcheck:\n  test: [CMD, web, health]'),
    check: eachWorkload((workload) => {
      if (workload.platform !== 'compose') return null
      const [container] = workload.pod.containers
      if (container === undefined || container.liveness) return pass(workload)
      return fail(workload, 'nothing asks whether it still works', workload.podPath, {
        left: 'The image may bring a check of its own, which is not seen here.',
      })
    }),
  },
  {
    id: 'availability.hasty-start',
    category: 'availability',
    severity: 'low',
    title: 'Programs start when what they need answers',
    reason:
      'A database takes seconds to recover after a crash; a program that does not wait, and does not try again, is down after every start of the machine.',
    reference: 'https://docs.docker.com/compose/how-tos/startup-order/',
    cause: 'health',
    bad: yaml(
      'services:\n  web:\n    image: web:1.4.2\n    depends_on: [db]\n  db:\n    image: postgres:18.1',
      'compose.yaml',
    ),
    good: yaml(
      'services:\n  web:\n    image: web:1.4.2\n    depends_on:\n      db: { condition: service_healthy }\n  db:\n    image: postgres:18.1',
      'compose.yaml',
    ),
    check: eachWorkload(waits),
  },
  {
    id: 'availability.all-at-once',
    category: 'availability',
    severity: 'medium',
    title: 'Releases replace instances one after another',
    reason: 'Stopped all at once, every release is an outage, and a bad one is a long one.',
    reference: 'https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#strategy',
    cause: 'copies',
    bad: withObjects(deployment('', '', 'replicas: 2\nstrategy: { type: Recreate }'), service),
    good: withObjects(deployment(), service),
    check: eachWorkload(atOnce),
  },
  {
    id: 'availability.slow-recovery',
    category: 'availability',
    severity: 'low',
    title: 'A unit comes back within seconds',
    reason: 'systemd gives up after five crashes within ten seconds, unless told how long to wait.',
    reference: 'https://www.freedesktop.org/software/systemd/man/latest/systemd.service.html',
    cause: 'health',
    bad: unit('Restart=always'),
    good: unit('Restart=always\nRestartSec=2'),
    check: eachWorkload((workload) => {
      if (workload.platform !== 'systemd' || workload.restarts !== true) return null
      const section = workload.tree.kind === 'map' ? workload.tree.entries.get('Service')?.value : undefined
      if (section?.kind === 'map' && section.entries.has('RestartSec')) return pass(workload)
      const verdict = fail(
        workload,
        'it is started again at once, and no more after five times',
        ['Service', 'Restart'],
        { left: 'Add RestartSec=2.' },
      )
      return { ...verdict, place: placeOf(workload, 'Service', 'Restart') }
    }),
  },
]
