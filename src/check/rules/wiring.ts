/** Rules about parts that do not fit together: names that lead nowhere, and labels the API server does not take. */
import { placeOf, reachedBy, subjectsOf } from '../inventory.ts'
import type { Inventory, WayIn } from '../inventory.ts'
import { admit } from '../pod-security/evaluate.ts'
import { policyOf } from '../pod-security/versions.ts'
import { deployment, withObjects, yaml } from './inputs.ts'
import { eachWorkload, fail, pass, unknown } from './rule.ts'
import type { Rule, Verdict } from './rule.ts'

const service = (spec: string): string =>
  `apiVersion: v1\nkind: Service\nmetadata: { name: web }\nspec:\n${spec.replace(/^/gm, '  ')}`

const namespacesKnown = new WeakMap<Inventory, ReadonlySet<string>>()

function namespacesWithWorkloads(inventory: Inventory): ReadonlySet<string> {
  const known = namespacesKnown.get(inventory) ?? new Set(inventory.workloads.map(({ namespace }) => namespace))
  namespacesKnown.set(inventory, known)
  return known
}

function dangling(way: WayIn, inventory: Inventory): Verdict | null {
  if (way.platform !== 'kubernetes' || way.selector === null || Object.keys(way.selector).length === 0) return null
  if (reachedBy(inventory, way).length > 0) return pass(way)
  // Custom resources make pods of their own: with some in the input, or none of its namespace, nobody can say.
  const others = namespacesWithWorkloads(inventory).has(way.namespace)
  if (inventory.unknowns.length > 0 || !others)
    return unknown(way, 'the pods it leads to are not part of the input', 'spec', 'selector')
  return fail(way, 'its selector chooses no pod of the input', ['spec', 'selector'], {
    left: 'Either its labels or those of the pods are wrong.',
  })
}

function ports(way: WayIn, inventory: Inventory): Verdict | null {
  const workloads = way.platform === 'kubernetes' ? reachedBy(inventory, way) : []
  if (workloads.length === 0) return null
  for (const { target, path } of way.ports) {
    if (typeof target !== 'string') continue
    const named = workloads.some((workload) =>
      workload.pod.containers.some((container) => container.ports.some((port) => port.name === target)),
    )
    if (!named)
      return fail(way, `it leads to the port named ${target}, and no pod it chooses has one`, [...path, 'targetPort'], {
        left: 'Either the name or the port of the container is wrong.',
      })
  }
  return pass(way)
}

export const wiringRules: readonly Rule[] = [
  {
    id: 'availability.dangling-service',
    category: 'availability',
    severity: 'high',
    title: 'Services lead to pods',
    reason: 'A service that chooses no pod answers nothing; the mistake is found by the first who calls it.',
    reference: 'https://kubernetes.io/docs/concepts/services-networking/service/',
    cause: 'wiring',
    bad: withObjects(deployment(), service('selector: { app: wbe }\nports: [{ port: 80 }]')),
    good: withObjects(deployment(), service('selector: { app: web }\nports: [{ port: 80 }]')),
    check: function* (inventory) {
      for (const way of inventory.waysIn) {
        const verdict = dangling(way, inventory)
        if (verdict !== null) yield verdict
      }
    },
  },
  {
    id: 'availability.unknown-port',
    category: 'availability',
    severity: 'high',
    title: 'Services lead to ports that exist',
    reason: 'A name that no container has is no endpoint: calls end in a refused connection.',
    reference: 'https://kubernetes.io/docs/concepts/services-networking/service/#field-spec-ports',
    cause: 'wiring',
    bad: withObjects(deployment(), service('selector: { app: web }\nports: [{ port: 80, targetPort: http }]')),
    good: withObjects(
      deployment('ports: [{ name: http, containerPort: 8080 }]'),
      service('selector: { app: web }\nports: [{ port: 80, targetPort: http }]'),
    ),
    check: function* (inventory) {
      for (const way of inventory.waysIn) {
        const verdict = ports(way, inventory)
        if (verdict !== null) yield verdict
      }
    },
  },
  {
    id: 'availability.missing-service',
    category: 'availability',
    severity: 'high',
    title: 'Routes lead to services',
    reason: 'A route to a service that does not exist answers every request with an error.',
    reference: 'https://kubernetes.io/docs/concepts/services-networking/ingress/',
    cause: 'wiring',
    bad: yaml(
      'apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: { name: web }\nspec:\n  defaultBackend: { service: { name: wbe, port: { number: 80 } } }\n---\n' +
        service('selector: { app: web }\nports: [{ port: 80 }]'),
    ),
    good: yaml(
      'apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: { name: web }\nspec:\n  defaultBackend: { service: { name: web, port: { number: 80 } } }\n---\n' +
        service('selector: { app: web }\nports: [{ port: 80 }]'),
    ),
    check: function* (inventory) {
      for (const route of inventory.routes) {
        const known = inventory.waysIn.filter(
          (way) => way.platform === 'kubernetes' && way.namespace === route.namespace,
        )
        const missing = route.services.find((name) => !known.some((way) => way.name === name))
        if (missing === undefined) yield pass(route)
        else if (known.length === 0) yield unknown(route, 'the services it leads to are not part of the input', 'spec')
        else
          yield fail(route, `there is no service ${missing}`, ['spec'], {
            left: 'Either the name is wrong, or the service is missing.',
          })
      }
    },
  },
  {
    id: 'pod-security.admission',
    category: 'security',
    severity: 'critical',
    title: 'The API server takes the pods that their namespace asks for',
    reason:
      'Namespace labels are enforced: such a pod is rejected, and a controller that makes it waits forever without saying so where people look.',
    reference: 'https://kubernetes.io/docs/concepts/security/pod-security-admission/',
    cause: 'wiring',
    bad: withObjects(
      deployment('securityContext: { privileged: true }'),
      'apiVersion: v1\nkind: Namespace\nmetadata:\n  name: default\n  labels: { pod-security.kubernetes.io/enforce: baseline }',
    ),
    good: withObjects(
      deployment(),
      'apiVersion: v1\nkind: Namespace\nmetadata:\n  name: default\n  labels: { pod-security.kubernetes.io/enforce: baseline }',
    ),
    check: eachWorkload((workload, inventory) => {
      const namespace = inventory.namespaces.find((candidate) => candidate.name === workload.namespace)
      if (workload.platform !== 'kubernetes' || namespace === undefined) return null
      if (!Object.keys(namespace.labels).some((label) => label.startsWith('pod-security.kubernetes.io/'))) return null
      const { message, warnings } = admit(workload.pod, policyOf(namespace.labels).policy)
      if (message !== null)
        return fail(workload, message, workload.podPath, {
          left: 'What each check asks for is told by its own finding.',
        })
      const [warning] = warnings
      if (warning === undefined) return pass(workload)
      return fail(workload, warning, workload.podPath, { left: 'It is only said, not enforced.', severity: 'low' })
    }),
  },
  {
    id: 'pod-security.bad-label',
    category: 'security',
    severity: 'high',
    title: 'Pod security labels are ones the API server takes',
    reason: 'A namespace with a level or version that does not exist cannot be made.',
    reference:
      'https://kubernetes.io/docs/concepts/security/pod-security-admission/#pod-security-admission-labels-for-namespaces',
    cause: 'wiring',
    bad: yaml(
      'apiVersion: v1\nkind: Namespace\nmetadata:\n  name: shop\n  labels: { pod-security.kubernetes.io/enforce: strict }',
    ),
    good: yaml(
      'apiVersion: v1\nkind: Namespace\nmetadata:\n  name: shop\n  labels: { pod-security.kubernetes.io/enforce: restricted }',
    ),
    check: function* (inventory) {
      for (const namespace of inventory.namespaces) {
        const [bad] = policyOf(namespace.labels).bad
        if (bad === undefined) yield pass(namespace)
        else
          yield fail(
            namespace,
            `${bad.label}: Invalid value: "${bad.value}": ${bad.message}`,
            ['metadata', 'labels', bad.label],
            { left: 'Which level was meant is not said here.' },
          )
      }
    },
  },
  {
    id: 'pod-security.no-level',
    category: 'security',
    severity: 'medium',
    title: 'Namespaces say what their pods are held to',
    reason: 'Without a label the API server takes every pod, privileged ones too, whatever was checked before.',
    reference: 'https://kubernetes.io/docs/concepts/security/pod-security-admission/',
    cause: 'hardening',
    bad: yaml('apiVersion: v1\nkind: Namespace\nmetadata: { name: shop }'),
    good: yaml(
      'apiVersion: v1\nkind: Namespace\nmetadata:\n  name: shop\n  labels: { pod-security.kubernetes.io/enforce: restricted }',
    ),
    check: function* (inventory, options) {
      for (const namespace of inventory.namespaces) {
        const level = namespace.labels['pod-security.kubernetes.io/enforce']
        if (level === 'privileged')
          yield fail(namespace, 'it takes every pod: enforce is privileged', ['metadata', 'labels'], {
            left: 'A namespace for system programs may need it: say so in the suppressions, with an owner and an end.',
          })
        else if (level !== undefined) yield pass(namespace)
        else {
          const pods = inventory.workloads.filter(
            (workload) => workload.platform === 'kubernetes' && workload.namespace === namespace.name,
          )
          const enforce = { level: 'restricted', version: options.standard.version } as const
          const fits =
            pods.length > 0 && pods.every(({ pod }) => admit(pod, { enforce, audit: enforce, warn: enforce }).allowed)
          const label = 'pod-security.kubernetes.io/enforce'
          const path = ['metadata', 'labels', label]
          const edit = { subject: namespace, path: [...namespace.path, ...path], value: 'restricted' }
          const left = 'Not all its pods in the input meet restricted: a label would keep them out.'
          yield fail(
            namespace,
            'it has no pod security label, so it takes every pod',
            ['metadata'],
            fits ? { edits: [edit] } : { left: pods.length === 0 ? 'Its pods are not part of the input.' : left },
          )
        }
      }
    },
  },
  {
    id: 'complexity.unused-config',
    category: 'complexity',
    severity: 'low',
    title: 'Configuration that is there is used',
    reason: 'What nobody uses is still read, changed and worried about.',
    reference: 'https://kubernetes.io/docs/concepts/configuration/configmap/',
    cause: 'parts',
    bad: withObjects(deployment(), 'apiVersion: v1\nkind: ConfigMap\nmetadata: { name: old }\ndata: { a: b }'),
    good: withObjects(
      deployment('envFrom: [{ configMapRef: { name: web } }]'),
      'apiVersion: v1\nkind: ConfigMap\nmetadata: { name: web }\ndata: { a: b }',
    ),
    check: function* (inventory) {
      const texts = new Map<string, boolean>()
      const mentions = (name: string): boolean => {
        const known = texts.get(name)
        if (known !== undefined) return known
        const word = new RegExp(`(?<![\\w-])${name.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}(?![\\w-])`, 'g')
        const sources = new Set(
          subjectsOf(inventory)
            .filter((subject) => subject.platform === 'kubernetes')
            .map((subject) => subject.source),
        )
        let count = 0
        for (const source of sources) count += source.text.match(word)?.length ?? 0
        texts.set(name, count > 1)
        return count > 1
      }
      for (const config of inventory.configs) {
        if (config.platform !== 'kubernetes') continue
        const pods = inventory.workloads.some((workload) => workload.namespace === config.namespace)
        if (!pods || inventory.unknowns.length > 0) yield unknown(config, 'who uses it may not be part of the input')
        else if (mentions(config.name)) yield pass(config)
        else
          yield {
            ...fail(config, 'nothing in the input names it', ['metadata', 'name'], {
              left: 'Take it away, when nothing outside the input uses it.',
            }),
            place: placeOf(config, 'metadata', 'name'),
          }
      }
    },
  },
]
