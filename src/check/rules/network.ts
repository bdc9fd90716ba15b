/** Rules about who may talk to whom. */
import { placeOf, runningContainers, selects, waysTo } from '../inventory.ts'
import type { Inventory, NetworkPolicy, Opening, Workload } from '../inventory.ts'
import { isDataStore } from '../versions/image.ts'
import { compose, deployment, plan, withObjects, yaml } from './inputs.ts'
import { eachWorkload, fail, listed, pass, set, unknown } from './rule.ts'
import type { Rule, Verdict } from './rule.ts'

/** Policies that choose a workload, and whether there are some of which nobody here knows whom they choose. */
function policiesFor(
  workload: Workload,
  inventory: Inventory,
): { readonly policies: readonly NetworkPolicy[]; readonly unclear: boolean } {
  const near = inventory.networkPolicies.filter(({ namespace }) => namespace === workload.namespace)
  return {
    policies: near.filter(({ selector }) => selector !== null && selects(selector, workload.pod.labels)),
    unclear: near.some(({ selector }) => selector === null),
  }
}

const unclearPolicy = 'a network policy chooses by expressions, which are not worked out here'

const policyPage = 'https://kubernetes.io/docs/concepts/services-networking/network-policies/'

const policy = (spec: string): string =>
  `apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: { name: web }\nspec:\n  podSelector:\n    matchLabels: { app: web }\n${spec}`

/** Services that nobody outside should reach, by port. */
const innerPorts: Readonly<Record<number, string>> = {
  22: 'SSH',
  2375: 'the Docker API',
  2376: 'the Docker API',
  2379: 'etcd',
  3306: 'MySQL',
  3389: 'remote desktop',
  5432: 'PostgreSQL',
  5601: 'Kibana',
  5672: 'AMQP',
  6379: 'Redis',
  6443: 'the Kubernetes API',
  9042: 'Cassandra',
  9092: 'Kafka',
  9200: 'Elasticsearch',
  10250: 'the kubelet',
  11211: 'memcached',
  27017: 'MongoDB',
}

function isWorld(cidr: string): boolean {
  return cidr === '0.0.0.0/0' || cidr === '::/0'
}

function opening(found: Opening): Verdict | null {
  if (found.direction !== 'in') return null
  if (!found.cidrs.some(isWorld)) return pass(found)
  if (found.fromPort <= 0 && found.toPort >= 65_535)
    return fail(found, 'all ports are open to the world', found.field, {
      left: 'Name the ports that are meant.',
      severity: 'critical',
    })
  const inner = Object.entries(innerPorts).filter(
    ([port]) => Number(port) >= found.fromPort && Number(port) <= found.toPort,
  )
  if (inner.length === 0) return pass(found)
  return fail(found, `${listed(inner.map(([port, name]) => `${name} (${port})`))} is open to the world`, found.field, {
    left: 'Name the addresses that may come, or go through a tunnel.',
  })
}

function* metadataAccess(inventory: Inventory): Generator<Verdict> {
  for (const found of inventory.networkPolicies) {
    const wide = found.egressBlocks.filter(({ cidr }) => isWorld(cidr))
    const [first] = wide.filter(({ except }) => !except.some((block) => block.startsWith('169.254.')))
    if (wide.length === 0) continue
    if (first === undefined) yield pass(found)
    else
      yield fail(found, 'it lets out to everywhere, the metadata service at 169.254.169.254 included', first.path, {
        edits: [set(found, [...first.path, 'except', '+'], '169.254.169.254/32')],
      })
  }
  for (const resource of inventory.resources) {
    if (resource.service !== 'machine' || resource.vendor !== 'AWS') continue
    const { metadataTokens } = resource.facts
    if (metadataTokens === null)
      yield unknown(resource, 'whether its metadata service asks for tokens is known only after apply')
    else if (metadataTokens === true) yield pass(resource)
    else
      yield fail(
        resource,
        'its metadata service answers without a token, so any request it can be made to send gets its keys',
        [],
        {
          left: 'Set metadata_options { http_tokens = "required" } where it is declared.',
        },
      )
  }
}

function databasePort(workload: Workload, inventory: Inventory): Verdict | null {
  const stores = runningContainers(workload.pod).filter(({ image }) => image !== null && isDataStore(image))
  if (stores.length === 0) return null
  const open = waysTo(inventory, workload).find(
    (way) => way.exposure === 'public' || (way.exposure === 'node' && way.platform === 'kubernetes'),
  )
  if (open === undefined) return pass(workload)
  const ports = open.ports.map(({ port }) => port).join(', ')
  const place = placeOf(open, ...(open.ports[0]?.path ?? []))
  const message = `${listed(stores.map(({ name }) => name))} keeps data and is reachable from outside on port ${ports}`
  const left =
    workload.platform === 'compose'
      ? 'Take the port away: other services reach it by its name. For your own machine only, write 127.0.0.1: before it.'
      : 'Make the service of type ClusterIP.'
  return { ...fail(workload, message, workload.podPath, { left }), place }
}

export const networkRules: readonly Rule[] = [
  {
    id: 'security.open-ingress',
    category: 'security',
    severity: 'medium',
    title: 'Who may dial a program is said',
    reason: 'Without a policy every pod of the cluster reaches every other: one that was taken over tries them all.',
    reference: policyPage,
    cause: 'network',
    bad: deployment(),
    good: withObjects(deployment(), policy('  policyTypes: [Ingress]\n  ingress:\n    - from: [{ podSelector: {} }]')),
    check: eachWorkload((workload, inventory) => {
      if (workload.platform !== 'kubernetes' || workload.role === 'job') return null
      const { policies, unclear } = policiesFor(workload, inventory)
      if (policies.some((found) => found.ingress)) return pass(workload)
      if (unclear) return unknown(workload, unclearPolicy, 'metadata', 'name')
      return fail(workload, 'no network policy says who may dial it', ['metadata', 'name'], {
        left: 'Who dials it is not said here. Begin with a policy that lets in nothing, and add whom you see.',
      })
    }),
  },
  {
    id: 'security.open-egress',
    category: 'security',
    severity: 'medium',
    title: 'Whom a program may dial is said',
    reason: 'What is stolen has to get out, and what is loaded afterwards has to get in: both end at a closed egress.',
    reference: policyPage,
    cause: 'network',
    bad: deployment(),
    good: withObjects(deployment(), policy('  policyTypes: [Egress]\n  egress: []')),
    check: eachWorkload((workload, inventory) => {
      if (workload.platform !== 'kubernetes' && workload.platform !== 'stead') return null
      if (workload.platform === 'stead') return pass(workload)
      const { policies: found, unclear } = policiesFor(workload, inventory)
      const policies = found.filter((policy) => policy.egress)
      const wide = policies.find((policy) => policy.opensAllEgress)
      if (policies.length > 0 && wide === undefined) return pass(workload)
      if (policies.length === 0 && unclear) return unknown(workload, unclearPolicy, 'metadata', 'name')
      const message =
        wide === undefined ? 'no network policy says whom it may dial' : `the policy ${wide.name} lets it dial anything`
      return fail(workload, message, ['metadata', 'name'], {
        left: 'Whom it dials is not said here. Begin with name resolution and the services it uses.',
      })
    }),
  },
  {
    id: 'security.metadata-access',
    category: 'security',
    severity: 'high',
    title: "The cloud's metadata service is out of reach",
    reason:
      "It hands out the machine's keys to whoever asks from it, so one forged request becomes the rights of the machine.",
    reference: 'https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html',
    cause: 'network',
    bad: yaml(policy('  policyTypes: [Egress]\n  egress:\n    - to: [{ ipBlock: { cidr: 0.0.0.0/0 } }]')),
    good: yaml(
      policy(
        '  policyTypes: [Egress]\n  egress:\n    - to: [{ ipBlock: { cidr: 0.0.0.0/0, except: [169.254.169.254/32] } }]',
      ),
    ),
    check: metadataAccess,
  },
  {
    id: 'security.open-firewall',
    category: 'security',
    severity: 'high',
    title: 'Firewalls open only what is meant for the world',
    reason:
      'Every address of the internet is tried within minutes; a port for administration or data is found and worked on.',
    reference: 'https://docs.aws.amazon.com/vpc/latest/userguide/vpc-security-groups.html',
    cause: 'network',
    bad: plan('aws_security_group', {
      ingress: [{ cidr_blocks: ['0.0.0.0/0'], from_port: 22, to_port: 22, protocol: 'tcp' }],
    }),
    good: plan('aws_security_group', {
      ingress: [{ cidr_blocks: ['0.0.0.0/0'], from_port: 443, to_port: 443, protocol: 'tcp' }],
    }),
    check: function* (inventory) {
      for (const found of inventory.openings) {
        const verdict = opening(found)
        if (verdict !== null) yield verdict
      }
    },
  },
  {
    id: 'security.public-data-port',
    category: 'security',
    severity: 'high',
    title: 'Databases, caches and queues have no port for the outside',
    reason: 'They are made for a trusted network; many come without a password, and all with a long list of past gaps.',
    reference: 'https://docs.docker.com/engine/network/port-publishing/',
    cause: 'exposure',
    bad: yaml('services:\n  db:\n    image: postgres:18.1\n    ports: ["5432:5432"]', 'compose.yaml'),
    good: yaml('services:\n  db:\n    image: postgres:18.1', 'compose.yaml'),
    check: eachWorkload(databasePort),
  },
  {
    id: 'security.no-tls',
    category: 'security',
    severity: 'medium',
    title: 'What comes from outside comes encrypted',
    reason: 'Passwords and sessions are otherwise read, and answers changed, by everybody on the way.',
    reference: 'https://kubernetes.io/docs/concepts/services-networking/ingress/#tls',
    cause: 'encryption',
    bad: yaml(
      'apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: { name: web }\nspec:\n  rules: [{ host: shop.example.com }]',
    ),
    good: yaml(
      'apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: { name: web }\nspec:\n  tls: [{ hosts: [shop.example.com], secretName: web }]\n  rules: [{ host: shop.example.com }]',
    ),
    check: function* (inventory) {
      for (const route of inventory.routes) {
        if (route.tls === null) yield unknown(route, 'whether its gateway ends TLS is said by the gateway', 'spec')
        else if (route.tls) yield pass(route)
        else
          yield fail(route, `${listed(route.hosts)} is served without TLS`, ['spec'], {
            left: 'Which certificate it gets is not said here, nor whether something before it ends TLS.',
          })
      }
    },
  },
  {
    id: 'security.unneeded-public-port',
    category: 'security',
    severity: 'low',
    title: 'Ports for people of the machine listen on the machine only',
    reason:
      'Docker publishes past the firewall of the machine: a port for debugging or administration is then open to the world.',
    reference: 'https://docs.docker.com/engine/network/packet-filtering-firewalls/',
    cause: 'exposure',
    bad: compose('ports: ["9229:9229"]'),
    good: compose('ports: ["127.0.0.1:9229:9229"]'),
    check: eachWorkload((workload, inventory) => {
      if (workload.platform !== 'compose') return null
      const tools: Readonly<Record<number, string>> = {
        9229: 'the debugger of Node',
        5005: 'the debugger of Java',
        2345: 'a debugger',
        8081: 'an administration page',
        5050: 'an administration page',
        9000: 'an administration page',
        9090: 'Prometheus',
        15672: 'the page of RabbitMQ',
        5601: 'Kibana',
        9999: 'a debugger',
      }
      const ways = waysTo(inventory, workload)
      if (ways.length === 0) return null
      for (const way of ways.filter((candidate) => candidate.exposure === 'public'))
        for (const { target, path } of way.ports) {
          const what = typeof target === 'number' ? (tools[target] ?? '') : ''
          if (what !== '')
            return fail(workload, `port ${target} (${what}) is open on all addresses of the machine`, path, {
              left: 'Write 127.0.0.1: before it when only the machine itself needs it.',
            })
        }
      return pass(workload)
    }),
  },
]
