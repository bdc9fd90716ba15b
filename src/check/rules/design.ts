/** Rules about the design as a whole: what ties it to a vendor, what it costs needlessly, what it could do without. */
import { runningContainers, waysTo } from '../inventory.ts'
import type { Inventory, Workload } from '../inventory.ts'
import { leavingEffort } from '../vendor.ts'
import { parseImage } from '../versions/image.ts'
import { deployment, plan, yaml } from './inputs.ts'
import { eachWorkload, fail, listed, pass } from './rule.ts'
import type { Rule, Severity, Verdict } from './rule.ts'

const severityOf: Readonly<Record<ReturnType<typeof leavingEffort>['effort'], Severity | null>> = {
  hours: null,
  days: 'low',
  weeks: 'medium',
  months: 'high',
}

/** One answer for each kind of thing of a vendor: leaving it is work that is done once. */
function* tied(inventory: Inventory): Generator<Verdict> {
  const kinds = Map.groupBy(inventory.resources, ({ vendor, kind }) => `${vendor} ${kind}`)
  for (const members of kinds.values()) {
    const [first] = members
    if (first === undefined) continue
    const { effort, reason, alternative } = leavingEffort(first)
    const severity = severityOf[effort]
    const what = members.length === 1 ? 'leaving it' : `leaving the ${members.length} of this kind`
    if (severity === null) yield pass(first)
    else yield fail(first, `${what} takes ${effort}: ${reason}`, [], { left: alternative, severity })
  }
}

function* oneRegistry(inventory: Inventory): Generator<Verdict> {
  const images = inventory.workloads.flatMap((workload) =>
    workload.pod.containers.flatMap(({ image }) =>
      image === null ? [] : [{ workload, registry: parseImage(image).registry ?? 'docker.io' }],
    ),
  )
  const registries = new Set(images.map(({ registry }) => registry))
  const [first] = images
  if (first === undefined || images.length < 3) return
  const [only] = registries
  if (
    registries.size > 1 ||
    only === undefined ||
    !/^(?:docker\.io|ghcr\.io|quay\.io|gcr\.io|.*\.gcr\.io|.*\.amazonaws\.com|.*\.azurecr\.io)$/.test(only)
  )
    yield pass(first.workload)
  else
    yield fail(
      first.workload,
      `all ${images.length} images come from ${only}: while it is down, or its limits are reached, nothing new starts`,
      first.workload.pod.containers[0]?.path ?? [],
      { left: 'A mirror of your own, or a second registry in the list of the nodes.' },
    )
}

const vendorAnnotation: readonly (readonly [RegExp, string])[] = [
  [/^(?:service\.beta\.kubernetes\.io\/aws|alb\.ingress\.kubernetes\.io|eks\.amazonaws\.com)/, 'AWS'],
  [/^(?:cloud\.google\.com|networking\.gke\.io|iam\.gke\.io)/, 'Google Cloud'],
  [/^(?:service\.beta\.kubernetes\.io\/azure|appgw\.ingress\.kubernetes\.io)/, 'Azure'],
]

function* vendorFields(inventory: Inventory): Generator<Verdict> {
  for (const subject of [...inventory.waysIn, ...inventory.routes]) {
    if (subject.platform !== 'kubernetes' || subject.tree.kind !== 'map') continue
    const metadata = subject.tree.entries.get('metadata')?.value
    const annotations = metadata?.kind === 'map' ? metadata.entries.get('annotations')?.value : undefined
    const keys = annotations?.kind === 'map' ? [...annotations.entries.keys()] : []
    const key = keys.find((candidate) => vendorAnnotation.some(([pattern]) => pattern.test(candidate)))
    if (key === undefined) yield pass(subject)
    else {
      const vendor = vendorAnnotation.find(([pattern]) => pattern.test(key))?.[1] ?? ''
      yield fail(subject, `the annotation ${key} means something on ${vendor} only`, ['metadata', 'annotations', key], {
        left: 'Keep such fields in an overlay for that cluster, apart from what is the same everywhere.',
      })
    }
  }
}

function* balancers(inventory: Inventory): Generator<Verdict> {
  const ways = inventory.waysIn.filter((way) => way.platform === 'kubernetes' && way.exposure === 'public')
  const [first] = ways
  if (first === undefined) return
  const names = [...new Set(ways.map(({ name }) => name))]
  if (names.length < 2) yield pass(first)
  else
    yield fail(first, `${listed(names)} each get a load balancer of their own`, ['spec', 'type'], {
      left: `One ingress or gateway in front of all costs one instead of ${names.length}.`,
    })
}

/** Services that are released together, keep nothing and talk only inside: they could be one process. */
function* splitServices(inventory: Inventory): Generator<Verdict> {
  const alike = inventory.workloads.filter(
    ({ role, stateful, platform }) => role === 'service' && !stateful && platform !== 'systemd',
  )
  const groups = Map.groupBy(alike, (workload) => cadenceOf(workload) ?? '')
  groups.delete('')
  for (const [cadence, members] of groups) {
    const [first] = members
    if (first === undefined) continue
    const inner = members.filter((workload) => !waysTo(inventory, workload).some((way) => way.exposure === 'public'))
    if (members.length < 3 || inner.length < 2) yield pass(first)
    else
      yield fail(
        first,
        `${members.length} services (${listed(members.map(({ name }) => name))}) share ${cadence}: they could be one process`,
        first.podPath,
        {
          left: 'One process has no calls to time out, no versions to keep apart and one thing to watch. Apart they pay when they scale, fail or are released separately.',
        },
      )
  }
}

/** What says that services are released together: one image, or one repository and tag. */
function cadenceOf(workload: Workload): string | null {
  const [container] = runningContainers(workload.pod)
  if (container?.image === undefined || container.image === null) return null
  const { registry, repository, tag } = parseImage(container.image)
  const folder = repository.split('/').slice(0, -1).join('/')
  if (registry === null || folder === '' || tag === null) return null
  return `the release ${tag} of ${registry}/${folder}`
}

function sidecars(workload: Workload): Verdict | null {
  if (workload.platform !== 'kubernetes') return null
  const running = runningContainers(workload.pod)
  if (running.length <= 3) return pass(workload)
  return fail(workload, `${running.length} containers run in each instance`, workload.podPath, {
    left: 'Each must be up for the instance to be ready, and each has its own limits, image and updates.',
  })
}

function oversized(workload: Workload): Verdict | null {
  if (workload.platform !== 'kubernetes') return null
  for (const container of runningContainers(workload.pod)) {
    const request = cores(container.requests['cpu'])
    const limit = cores(container.limits['cpu'])
    if (request === null) continue
    if (request >= 4 && workload.replicas !== null && workload.replicas > 1 && limit === request)
      return fail(
        workload,
        `${container.name} reserves ${request} cores in each of ${workload.replicas} instances, used or not`,
        [...container.path, 'resources'],
        { left: 'Measure what it uses at its busiest and reserve that.' },
      )
  }
  return runningContainers(workload.pod).some(({ requests }) => requests['cpu'] !== undefined) ? pass(workload) : null
}

/** Cores of a quantity as `500m` or `2`; null when there is none. */
function cores(quantity: string | undefined): number | null {
  if (quantity === undefined) return null
  const match = /^(\d+(?:\.\d+)?)(m?)$/.exec(quantity)
  return match === null ? null : Number(match[1]) / (match[2] === 'm' ? 1000 : 1)
}

export const designRules: readonly Rule[] = [
  {
    id: 'vendor.tied-service',
    category: 'vendor',
    severity: 'medium',
    title: 'Managed services can be left',
    reason: 'A price or a policy that changes is answered by moving, or not at all.',
    reference: 'https://12factor.net/backing-services',
    cause: 'leaving',
    bad: plan('aws_dynamodb_table', { name: 'orders' }),
    good: plan('aws_instance', { instance_type: 'm7i.large' }),
    check: tied,
  },
  {
    id: 'vendor.single-registry',
    category: 'vendor',
    severity: 'low',
    title: 'Images come from more than one place, or your own',
    reason: 'A registry is a part of your uptime: it has outages, limits and terms of its own.',
    reference: 'https://docs.docker.com/docker-hub/usage/pulls/',
    cause: 'leaving',
    bad: yaml(
      'services:\n  a:\n    image: nginx:1.29\n  b:\n    image: postgres:18.1\n  c:\n    image: redis:8.2',
      'compose.yaml',
    ),
    good: yaml(
      'services:\n  a:\n    image: mirror.example.com/nginx:1.29\n  b:\n    image: postgres:18.1\n  c:\n    image: redis:8.2',
      'compose.yaml',
    ),
    check: oneRegistry,
  },
  {
    id: 'vendor.vendor-field',
    category: 'vendor',
    severity: 'low',
    title: "Fields of one vendor's cluster are kept apart",
    reason: 'On another cluster they are silently ignored: what they were for is then missing.',
    reference: 'https://kubernetes.io/docs/concepts/services-networking/service/#loadbalancer',
    cause: 'leaving',
    bad: yaml(
      'apiVersion: v1\nkind: Service\nmetadata:\n  name: web\n  annotations: { service.beta.kubernetes.io/aws-load-balancer-type: nlb }\nspec: { type: LoadBalancer, ports: [{ port: 80 }] }',
    ),
    good: yaml(
      'apiVersion: v1\nkind: Service\nmetadata: { name: web }\nspec: { type: LoadBalancer, ports: [{ port: 80 }] }',
    ),
    check: vendorFields,
  },
  {
    id: 'cost.many-balancers',
    category: 'cost',
    severity: 'low',
    title: 'One way in serves all',
    reason: 'Every service of type LoadBalancer is a machine or two that are paid for by the hour.',
    reference: 'https://kubernetes.io/docs/concepts/services-networking/ingress/',
    cause: 'spending',
    bad: yaml(
      ['a', 'b']
        .map(
          (name) =>
            `apiVersion: v1\nkind: Service\nmetadata: { name: ${name} }\nspec: { type: LoadBalancer, ports: [{ port: 80 }] }`,
        )
        .join('\n---\n'),
    ),
    good: yaml(
      'apiVersion: v1\nkind: Service\nmetadata: { name: a }\nspec: { type: LoadBalancer, ports: [{ port: 80 }] }',
    ),
    check: balancers,
  },
  {
    id: 'cost.reserved-cores',
    category: 'cost',
    severity: 'low',
    title: 'Reserved cores are used',
    reason: 'What is requested is paid for whether it is used or not; most programs use a small part of it.',
    reference: 'https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/',
    cause: 'spending',
    bad: deployment('resources: { requests: { cpu: "8" }, limits: { cpu: "8" } }'),
    good: deployment('resources: { requests: { cpu: 500m }, limits: { cpu: "8" } }'),
    check: eachWorkload(oversized),
  },
  {
    id: 'complexity.could-be-one',
    category: 'complexity',
    severity: 'low',
    title: 'Services are apart for a reason',
    reason: 'Every boundary is a network call that can fail, time out and be of the wrong version.',
    reference: 'https://martinfowler.com/bliki/MonolithFirst.html',
    cause: 'parts',
    bad: yaml(
      ['a', 'b', 'c']
        .map((name) =>
          deployment()
            .text.replace(/\bweb\b/g, name)
            .replace(`/${name}:`, `/shop/${name}:`),
        )
        .join('---\n'),
    ),
    good: yaml(deployment().text.replace('/web:', '/shop/web:')),
    check: splitServices,
  },
  {
    id: 'complexity.many-sidecars',
    category: 'complexity',
    severity: 'low',
    title: 'An instance is one program, or little more',
    reason: 'An instance with many containers is ready only when all are, and is restarted for each.',
    reference: 'https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/',
    cause: 'parts',
    bad: yaml(
      `apiVersion: v1\nkind: Pod\nmetadata: { name: many }\nspec:\n  containers:\n${['a', 'b', 'c', 'd'].map((name) => `    - { name: ${name}, image: "r.example.com/${name}:1" }`).join('\n')}`,
    ),
    good: deployment(),
    check: eachWorkload(sidecars),
  },
]
