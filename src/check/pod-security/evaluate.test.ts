/** The Pod Security Standards: every version trap by a pod of its own, the wording, labels; and all fixtures where they are. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { dataDir, needsData } from '../../../test/data.ts'
import { readSources } from '../readers/read.ts'
import { admit, describeViolations, violations } from './evaluate.ts'
import type { Level } from './versions.ts'
import { parseVersion, policyOf } from './versions.ts'
import type { Pod } from '../pod.ts'

function pod(spec: string, annotations = ''): Pod {
  const text = `apiVersion: v1\nkind: Pod\nmetadata:\n  name: p\n${annotations}spec:\n${spec.replace(/^/gm, '  ')}`
  const inventory = readSources([{ path: 'pod.yaml', text }], { named: true })
  assert.deepEqual(inventory.problems, [], text)
  return inventory.workloads[0]?.pod ?? assert.fail('no pod')
}

const sound = `securityContext:\n  runAsNonRoot: true\n  seccompProfile: { type: RuntimeDefault }\ncontainers:\n- name: a\n  image: i\n  securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: [ALL] }`

/** The first minor version that decides otherwise than the one before. */
function turns(found: Pod, level: Level): readonly number[] {
  const meets = Array.from({ length: 38 }, (_, minor) => violations(found, { level, version: minor }).length === 0)
  return meets.flatMap((value, minor) => (minor > 0 && value !== meets[minor - 1] ? [minor] : []))
}

suite('pod security standards', () => {
  test('each check begins, and changes, with its version', () => {
    const containers = 'containers: [{ name: a, image: i }]'
    const cases: readonly (readonly [string, Level, readonly number[]])[] = [
      [`${sound} }`, 'restricted', []],
      // allowPrivilegeEscalation since 1.8.
      [`securityContext: { runAsNonRoot: true }\n${containers}`, 'restricted', [8]],
      // capabilities since 1.22.
      [
        'securityContext: { runAsNonRoot: true, seccompProfile: { type: RuntimeDefault } }\ncontainers: [{ name: a, image: i, securityContext: { allowPrivilegeEscalation: false } }]',
        'restricted',
        [22],
      ],
      // seccomp since 1.19.
      [
        'securityContext: { runAsNonRoot: true }\ncontainers: [{ name: a, image: i, securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: [ALL] } } }]',
        'restricted',
        [19],
      ],
      // runAsUser since 1.23.
      [`${sound}, runAsUser: 0 }`, 'restricted', [23]],
      // Windows is exempt since 1.25.
      [
        'os: { name: windows }\nsecurityContext: { runAsNonRoot: true }\ncontainers: [{ name: a, image: i }]',
        'restricted',
        [8, 25],
      ],
      // Own users are exempt from runAsNonRoot since 1.35, and from procMount at baseline.
      [`hostUsers: false\n${sound.replace('runAsNonRoot: true', 'runAsNonRoot: false')} }`, 'restricted', [35]],
      [
        `hostUsers: false\ncontainers: [{ name: a, image: i, securityContext: { procMount: Unmasked } }]`,
        'baseline',
        [35],
      ],
      // Hosts of probes since 1.34.
      ['containers: [{ name: a, image: i, livenessProbe: { httpGet: { host: h, port: 1 } } }]', 'baseline', [34]],
      [
        'containers: [{ name: a, image: i, lifecycle: { preStop: { tcpSocket: { host: h, port: 1 } } } }]',
        'baseline',
        [34],
      ],
      // container_engine_t since 1.31.
      [
        'securityContext: { seLinuxOptions: { type: container_engine_t } }\ncontainers: [{ name: a, image: i }]',
        'baseline',
        [31],
      ],
      ...(
        [
          ['net.ipv4.ip_local_reserved_ports', 27],
          ['net.ipv4.tcp_keepalive_time', 29],
          ['net.ipv4.tcp_rmem', 32],
          ['net.ipv4.tcp_notsent_lowat', 37],
        ] as const
      ).map(([name, minor]): [string, Level, readonly number[]] => [
        `securityContext: { sysctls: [{ name: ${name}, value: "1" }] }\n${containers}`,
        'baseline',
        [minor],
      ]),
      // Fields decide about seccomp since 1.19.
      [`securityContext: { seccompProfile: { type: Unconfined } }\n${containers}`, 'baseline', [19]],
    ]
    for (const [spec, level, expected] of cases) assert.deepEqual(turns(pod(spec), level), expected, spec)
  })

  test('procMount stays forbidden at restricted with own users', () => {
    const found = pod(`hostUsers: false\n${sound}, procMount: Unmasked }`)
    for (const version of [34, 35, 37, 'latest', 99] as const)
      assert.equal(violations(found, { level: 'restricted', version }).length, 1)
  })

  test('the seccomp annotation decides up to 1.18', () => {
    const annotated = pod(
      'containers: [{ name: a, image: i }]',
      '  annotations:\n    container.seccomp.security.alpha.kubernetes.io/a: unconfined\n',
    )
    assert.deepEqual(turns(annotated, 'baseline'), [19])
  })

  test('reasons are worded and ordered as by an API server', () => {
    const bad = pod(
      [
        'hostNetwork: true',
        'hostPID: true',
        'securityContext: { sysctls: [{ name: a.b, value: "1" }], windowsOptions: { hostProcess: true }, seLinuxOptions: { type: t, user: u, role: r } }',
        'volumes: [{ name: v, hostPath: { path: / } }, { name: n, nfs: { server: s, path: / } }, { name: e, emptyDir: }]',
        'initContainers: [{ name: i, image: i, securityContext: { privileged: true } }]',
        'containers:',
        '- { name: a, image: i, ports: [{ containerPort: 80, hostPort: 8080 }], securityContext: { capabilities: { add: [NET_RAW, CHOWN] }, procMount: Unmasked, seccompProfile: { type: Unconfined }, appArmorProfile: { type: Unconfined } } }',
        '- { name: b, image: i, securityContext: { privileged: true, runAsUser: 0, runAsNonRoot: false } }',
      ].join('\n'),
    )
    assert.equal(
      describeViolations(violations(bad, { level: 'baseline', version: 'latest' })),
      [
        'forbidden AppArmor profile (container "a" must not set AppArmor profile type to "Unconfined")',
        'non-default capabilities (container "a" must not include "NET_RAW" in securityContext.capabilities.add)',
        'host namespaces (hostNetwork=true, hostPID=true)',
        'hostPath volumes (volume "v")',
        'hostPort (container "a" uses hostPort 8080)',
        'privileged (containers "i", "b" must not set securityContext.privileged=true)',
        'procMount (container "a" must not set securityContext.procMount to "Unmasked")',
        'seLinuxOptions (pod set forbidden securityContext.seLinuxOptions: type "t"; user may not be set; role may not be set)',
        'seccompProfile (container "a" must not set securityContext.seccompProfile.type to "Unconfined")',
        'forbidden sysctls (a.b)',
        'hostProcess (pod must not set securityContext.windowsOptions.hostProcess=true)',
      ].join(', '),
    )
    const restricted = violations(bad, { level: 'restricted', version: 'latest' }).map(({ check }) => check)
    assert.ok(!restricted.includes('hostPathVolumes') && restricted.includes('restrictedVolumes'))
    const details = describeViolations(violations(bad, { level: 'restricted', version: 'latest' }))
    assert.match(details, /restricted volume types \(volumes "v", "n" use restricted volume types "hostPath", "nfs"\)/)
    assert.match(
      details,
      /unrestricted capabilities \(containers "i", "a", "b" must set securityContext.capabilities.drop=\["ALL"\]; container "a" must not include "CHOWN", "NET_RAW" in securityContext.capabilities.add\)/,
    )
    assert.match(details, /runAsNonRoot != true \(container "b" must not set securityContext.runAsNonRoot=false\)/)
    assert.match(details, /runAsUser=0 \(container "b" must not set runAsUser=0\)/)
  })

  test('a host network pod takes its ports on the node, a template not yet', () => {
    const spec = 'hostNetwork: true\ncontainers: [{ name: a, image: i, ports: [{ containerPort: 80 }] }]'
    assert.deepEqual(
      violations(pod(spec), { level: 'baseline', version: 'latest' }).map(({ check }) => check),
      ['hostNamespaces', 'hostPorts'],
    )
    const text = `apiVersion: apps/v1\nkind: Deployment\nmetadata: { name: d }\nspec:\n  template:\n    spec:\n${spec.replace(/^/gm, '      ')}`
    const [workload] = readSources([{ path: 'd.yaml', text }], { named: true }).workloads
    assert.deepEqual(
      violations(workload?.pod ?? assert.fail(), { level: 'baseline', version: 'latest' }).map(({ check }) => check),
      ['hostNamespaces'],
    )
  })

  test('namespaces: labels, what follows what, and what cannot be read', () => {
    const prefix = 'pod-security.kubernetes.io/'
    const of = (labels: Record<string, string>): ReturnType<typeof policyOf> =>
      policyOf(Object.fromEntries(Object.entries(labels).map(([key, value]) => [`${prefix}${key}`, value])))
    assert.deepEqual(of({}).policy.enforce, { level: 'privileged', version: 'latest' })
    const pinned = of({ enforce: 'baseline', 'enforce-version': 'v1.24' }).policy
    assert.deepEqual(pinned.enforce, { level: 'baseline', version: 24 })
    assert.deepEqual(pinned.warn, { level: 'baseline', version: 24 })
    assert.deepEqual(pinned.audit, { level: 'privileged', version: 'latest' })
    assert.deepEqual(of({ enforce: 'baseline', warn: 'privileged' }).policy.warn.level, 'privileged')
    assert.deepEqual(of({ enforce: 'baseline', 'enforce-version': 'v1.24', 'warn-version': 'v1.30' }).policy.warn, {
      level: 'baseline',
      version: 30,
    })
    const bad = of({ enforce: 'strict', audit: 'strict', 'enforce-version': 'v1.05' })
    assert.deepEqual(bad.policy.enforce, { level: 'restricted', version: 'latest' })
    assert.equal(bad.policy.audit.level, 'privileged')
    assert.equal(bad.policy.warn.level, 'privileged')
    assert.deepEqual(
      bad.bad.map(({ label }) => label.slice(prefix.length)),
      ['enforce', 'enforce-version', 'audit'],
    )
    assert.deepEqual(['latest', 'v1.0', 'v1.37', 'v1.007', 'v2.1', '1.24', ''].map(parseVersion), [
      'latest',
      0,
      37,
      null,
      null,
      null,
      null,
    ])
  })

  test('admission: enforce rejects, warn and audit only say so, templates are never rejected', () => {
    const found = pod('hostIPC: true\ncontainers: [{ name: a, image: i }]')
    const { policy } = policyOf({
      'pod-security.kubernetes.io/enforce': 'baseline',
      'pod-security.kubernetes.io/audit': 'baseline',
    })
    const answer = admit(found, policy)
    assert.equal(answer.message, 'violates PodSecurity "baseline:latest": host namespaces (hostIPC=true)')
    assert.deepEqual(answer.warnings, [])
    assert.equal(
      answer.audit['audit-violations'],
      'would violate PodSecurity "baseline:latest": host namespaces (hostIPC=true)',
    )
    const template = admit(found, policy, true)
    assert.equal(template.allowed, true)
    assert.deepEqual(template.warnings, ['would violate PodSecurity "baseline:latest": host namespaces (hostIPC=true)'])
  })

  test('every fixture of the standards is decided right', { skip: needsData('psa') }, () => {
    interface Fixtures {
      readonly contents: Readonly<Record<string, string>>
      readonly cases: readonly {
        readonly path: string
        readonly level: Level
        readonly version: string
        readonly expect: string
        readonly content: string
      }[]
    }
    const { contents, cases } = JSON.parse(readFileSync(join(dataDir, 'psa', 'psa-fixtures.json'), 'utf8')) as Fixtures
    assert.ok(cases.length > 0)
    for (const { path, level, version, expect, content } of cases) {
      const inventory = readSources([{ path, text: contents[content] ?? '' }], { named: true })
      assert.deepEqual(inventory.problems, [], path)
      const found = violations(inventory.workloads[0]?.pod ?? assert.fail(path), {
        level,
        version: parseVersion(version) ?? assert.fail(version),
      })
      assert.equal(found.length === 0 ? 'pass' : 'fail', expect, `${path}: ${describeViolations(found)}`)
    }
  })
})
