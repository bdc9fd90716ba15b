/** Inputs: what each reader makes of its format, where things stand, and what it does with texts that are broken or hostile. */
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import {
  checkGraph,
  checkInventory,
  decodeSource,
  emptyInventory,
  formatPosition,
  mostStrict,
  positionOf,
  readSource,
  readSources,
  readSteadApp,
  ruleById,
} from './index.ts'
import type { Inventory } from './index.ts'

function read(path: string, text: string): Inventory {
  return readSources([{ path, text }], { named: true })
}

/** What is wrong with an input, as lines a person would read. */
function problems(path: string, text: string): readonly string[] {
  return read(path, text).problems.map((problem) => `${formatPosition(positionOf(problem.place))} ${problem.code}`)
}

function findings(path: string, text: string, ...rules: readonly string[]): readonly string[] {
  const chosen = rules.map((id) => ruleById(id) ?? assert.fail(id))
  const report = checkInventory(read(path, text), { standard: mostStrict, nowMs: 0 }, chosen)
  return report.findings.map(({ position, object, message }) => `${formatPosition(position)} ${object}: ${message}`)
}

suite('kubernetes', () => {
  test('several documents, lists, anchors and merges keep their places', () => {
    const text = [
      'apiVersion: v1',
      'kind: List',
      'items:',
      '- apiVersion: v1',
      '  kind: Pod',
      '  metadata: { name: a }',
      '  spec:',
      '    hostPID: true',
      '    containers: []',
      '---',
      '# between',
      'apiVersion: v1',
      'kind: Pod',
      'metadata: { name: b }',
      'x-base: &base',
      '  privileged: true',
      'spec:',
      '  containers:',
      '    - name: c',
      '      image: i',
      '      securityContext:',
      '        <<: *base',
      '    - name: d',
      '      image: i',
      '      securityContext: *base',
      '...',
    ].join('\r\n')
    assert.deepEqual(findings('two.yaml', text, 'pod-security.host-namespaces', 'pod-security.privileged'), [
      'two.yaml:16:3 Pod b: privileged (containers "c", "d" must not set securityContext.privileged=true)',
      'two.yaml:8:5 Pod a: host namespaces (hostPID=true)',
    ])
  })

  test('words of YAML 1.1 are truth values where they have no quotes', () => {
    const pod = (value: string): string =>
      `apiVersion: v1\nkind: Pod\nmetadata: { name: a }\nspec:\n  hostPID: ${value}\n  containers: []`
    assert.equal(read('a.yaml', pod('yes')).workloads[0]?.pod.hostPid, true)
    assert.deepEqual(problems('a.yaml', pod('"true!"')), ['a.yaml:5:3 check.wrong-type'])
  })

  test('routes of the Gateway API lead to services', () => {
    const text =
      'apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: { name: r }\nspec:\n  hostnames: [a.example.com]\n  rules:\n    - backendRefs: [{ name: web, port: 80 }]\n---\napiVersion: v1\nkind: Service\nmetadata: { name: other }\nspec: { selector: { app: x }, ports: [{ port: 80 }] }\n'
    assert.deepEqual(findings('r.yaml', text, 'availability.missing-service', 'security.no-tls'), [
      'r.yaml:4:1 HTTPRoute r: there is no service web',
    ])
  })

  test('what is not known is said to be unknown, not passed by', () => {
    const inventory = read('a.yaml', 'apiVersion: example.com/v1\nkind: Thing\nmetadata: { name: t }')
    assert.deepEqual(
      inventory.unknowns.map(({ kind, name }) => `${kind} ${name}`),
      ['Thing t'],
    )
    assert.deepEqual(problems('b.yaml', 'hello: world'), ['b.yaml:1:1 check.unknown-input'])
    assert.deepEqual(problems('c.yaml', 'apiVersion: v1\nmetadata: { name: x }'), ['c.yaml:1:1 check.bad-object'])
    assert.deepEqual(problems('d.yaml', 'apiVersion: apps/v1\nkind: Deployment\nmetadata: { name: x }'), [
      'd.yaml:1:1 check.bad-object',
    ])
  })
})

suite('texts that are broken or hostile', () => {
  test('each ends in one sentence with its place', () => {
    const cases: readonly (readonly [string, string, readonly string[]])[] = [
      ['tab.yaml', 'a:\n\tb: 1', ['tab.yaml:2:1 check.bad-yaml']],
      ['open.yaml', 'kind: "x', ['open.yaml:1:9 check.bad-yaml']],
      [
        'twice.yaml',
        'apiVersion: v1\nkind: ConfigMap\nmetadata: { name: a }\ndata: {}\ndata: {}',
        ['twice.yaml:5:1 check.duplicate-key'],
      ],
      [
        'chart.yaml',
        'apiVersion: v1\nkind: Pod\n{{- if .Values.on }}\nmetadata: {}\n{{- end }}',
        ['chart.yaml:3:1 check.unrendered-template'],
      ],
      [
        'value.yaml',
        'apiVersion: v1\nkind: Pod\nmetadata:\n  name: {{ .Values.name }}',
        ['value.yaml:4:9 check.unrendered-template'],
      ],
      ['cycle.yaml', 'a: &a\n  b: *a', ['cycle.yaml:2:6 check.too-large']],
      ['dangling.yaml', 'a: *nobody', ['dangling.yaml:1:4 check.bad-yaml']],
      ['deep.yaml', `a: ${'['.repeat(5000)}`, ['deep.yaml:1:1028 check.too-large']],
      ['deep.json', `{"a":${'['.repeat(500)}`, ['deep.json:1:134 check.too-large']],
      ['cut.json', '{"apiVersion": "v1", ', ['cut.json:1:22 check.bad-json']],
      ['comma.json', '[1,]', ['comma.json:1:4 check.bad-json']],
      ['newer.json', '{"format_version":"9.0","planned_values":{}}', ['newer.json:1:2 check.unknown-version']],
      ['bad.service', 'hello', ['bad.service:1:1 check.bad-unit', 'bad.service:1:1 check.bad-unit']],
    ]
    for (const [path, text, expected] of cases) assert.deepEqual(problems(path, text), expected, text.slice(0, 80))
  })

  test('braces in texts are no template', () => {
    const rule =
      'apiVersion: v1\nkind: ConfigMap\nmetadata: { name: a }\ndata:\n  a: Target {{ $labels.job }} is down\n  b: |\n    {{ .Name }}\n  c: "{{ x }}"\n'
    assert.deepEqual(problems('rule.yaml', rule), [])
  })

  test('a bomb of aliases is refused by counting, not by going off', () => {
    const lines = ['a0: &a0 [x, x, x, x, x, x, x, x, x, x]']
    for (let level = 1; level < 30; level++)
      lines.push(`a${level}: &a${level} [${Array.from({ length: 10 }, () => `*a${level - 1}`).join(', ')}]`)
    assert.deepEqual(problems('bomb.yaml', lines.join('\n')), ['bomb.yaml:6:9 check.too-large'])
  })

  test('encodings: UTF-8 and marked UTF-16 are read, others are named', () => {
    const text = 'apiVersion: v1\nkind: Pod\nmetadata: { name: ä }\nspec: { containers: [] }'
    const utf16 = Buffer.concat([Buffer.from([0xff, 0xfe]), Buffer.from(text, 'utf16le')])
    for (const bytes of [
      Buffer.from(text),
      Buffer.concat([Buffer.from([0xef, 0xbb, 0xbf]), Buffer.from(text)]),
      utf16,
    ]) {
      const source = decodeSource('a.yaml', bytes)
      assert.ok('text' in source)
      assert.equal(readSources([source], { named: true }).workloads[0]?.name, 'ä')
    }
    for (const bytes of [Buffer.from(text, 'latin1'), Buffer.from(text, 'utf16le')]) {
      const source = decodeSource('a.yaml', bytes)
      assert.equal('code' in source && source.code, 'check.bad-encoding')
    }
    const large = decodeSource('a.yaml', new Uint8Array(33 * 1024 * 1024))
    assert.equal('code' in large && large.code, 'check.too-large')
  })

  test('any text at all is read or refused, never thrown about', () => {
    const pieces = [
      'a: ',
      '- ',
      '{',
      '}',
      '[',
      ']',
      '"',
      "'",
      '\n',
      '  ',
      '&x ',
      '*x',
      '!t ',
      '|\n',
      '>\n',
      '#c\n',
      '---\n',
      '...\n',
      '? ',
      ': ',
      'kind: Pod\n',
      'apiVersion: v1\n',
      'services:\n',
      '<<: ',
      '\t',
      '%YAML 1.1\n',
      '\\',
      '\0',
      '{{',
      '}}',
      'ü',
    ]
    let seed = 7
    for (let round = 0; round < 3000; round++) {
      let text = ''
      for (let length = 0; length < 14; length++) {
        seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648
        text += pieces[seed % pieces.length] ?? ''
      }
      for (const path of ['x.yaml', 'x.json', 'x.service', 'compose.yaml'])
        readSource({ path, text }, { named: true }, emptyInventory())
    }
  })
})

suite('compose', () => {
  const text = [
    'x-common: &common',
    '  restart: always',
    '  security_opt: ["no-new-privileges:true"]',
    'services:',
    '  web:',
    '    <<: *common',
    '    build: .',
    '    user: "1000:1000"',
    '    ports: ["8080:80", "127.0.0.1:9229:9229", "${PORT:-90}:90", "53:53/udp", "[::1]:70:70"]',
    '    depends_on: { db: { condition: service_healthy } }',
    '    environment: { DB_HOST: db }',
    '  db:',
    '    image: postgres:18.1',
    '    volumes: ["data:/var/lib", "./init:/init:ro", { type: bind, source: /etc, target: /e }]',
    '    mem_limit: 1g',
    'volumes: { data: {} }',
  ].join('\n')

  test('services become workloads, ports ways in, mounts volumes', () => {
    const inventory = read('compose.yaml', text)
    assert.deepEqual(inventory.problems, [])
    const [web, db] = inventory.workloads
    assert.equal(web?.pod.containers[0]?.security.allowPrivilegeEscalation, false)
    assert.equal(web?.pod.containers[0]?.security.runAsUser, 1000)
    assert.equal(web?.restarts, true)
    assert.equal(db?.restarts, false)
    assert.deepEqual(web?.dependsOn, [{ name: 'db', healthy: true }])
    assert.deepEqual(
      inventory.waysIn.map(({ exposure, ports }) => [
        exposure,
        ports.map(({ port, target }) => `${port}:${String(target)}`),
      ]),
      [
        ['public', ['8080:80', '90:90', '53:53']],
        ['node', ['9229:9229', '70:70']],
      ],
    )
    assert.deepEqual(
      db?.pod.volumes.map(({ type, hostPath }) => [type, hostPath]),
      [
        ['persistentVolumeClaim', null],
        ['hostPath', './init'],
        ['hostPath', '/etc'],
      ],
    )
  })

  test('what stands in other files is said not to be read', () => {
    assert.deepEqual(
      problems(
        'compose.yaml',
        'include: [other.yaml]\nservices:\n  a:\n    extends: { file: b.yaml, service: c }\n    image: i:1',
      ),
      ['compose.yaml:4:5 check.not-followed', 'compose.yaml:1:1 check.not-followed'],
    )
  })
})

suite('clouds', () => {
  const plan = (resources: readonly object[], changes: readonly object[] = []): string =>
    JSON.stringify(
      {
        format_version: '1.2',
        planned_values: { root_module: { child_modules: [{ resources }] } },
        resource_changes: changes,
      },
      null,
      1,
    )

  test('plans: modules, data sources, and what is known only after apply', () => {
    const text = plan(
      [
        {
          address: 'module.a.aws_db_instance.x',
          mode: 'managed',
          type: 'aws_db_instance',
          values: { engine: 'postgres', multi_az: true },
        },
        { address: 'data.aws_ami.y', mode: 'data', type: 'aws_ami', values: {} },
      ],
      [
        {
          address: 'module.a.aws_db_instance.x',
          change: { after_unknown: { publicly_accessible: true, storage_encrypted: true } },
        },
      ],
    )
    const inventory = read('plan.json', text)
    assert.deepEqual(
      inventory.resources.map(({ name, service }) => [name, service]),
      [['module.a.aws_db_instance.x', 'database']],
    )
    const report = checkInventory(inventory, { standard: mostStrict, nowMs: 0 })
    const unknown = report.unknowns.map(({ rule }) => rule.id)
    assert.ok(unknown.includes('security.public-database') && unknown.includes('security.unencrypted-storage'))
    assert.ok(report.passed.has('availability.single-zone-database'))
    assert.equal(report.findings.find(({ rule }) => rule.id === 'availability.unprotected-deletion')?.position.line, 8)
  })

  test('a plan of changes only leaves what they leave; the source of a plan is none', () => {
    const change = (address: string, actions: readonly string[], after: object | null): object => ({
      address,
      mode: 'managed',
      type: 'aws_db_instance',
      change: { actions, after, after_unknown: {} },
    })
    const changes = [change('a', ['create'], { publicly_accessible: true }), change('b', ['delete'], null)]
    const text = JSON.stringify({ format_version: '1.2', resource_changes: changes })
    assert.deepEqual(findings('plan.json', text, 'security.public-database'), [
      'plan.json:1:45 aws_db_instance a: it can be reached from the internet',
    ])
    assert.deepEqual(problems('main.tf', 'resource "a" "b" {}'), ['main.tf:1:1 check.unknown-input'])
  })

  test('a wrapper around a plan is looked through', () => {
    const text = `[command]/usr/bin/terraform show -json plan\n${plan([{ address: 'a.b', mode: 'managed', type: 'aws_eip', values: {} }])}\n::set-output name=x`
    assert.equal(read('plan.json', text).resources.length, 1)
  })

  test('openings of firewalls, in every form', () => {
    const world = { cidr_blocks: ['0.0.0.0/0'] }
    const text = plan([
      {
        address: 'a',
        mode: 'managed',
        type: 'aws_security_group',
        values: {
          ingress: [{ ...world, from_port: 5432, to_port: 5432, protocol: 'tcp' }],
          egress: [{ ...world, from_port: 0, to_port: 0, protocol: '-1' }],
        },
      },
      {
        address: 'b',
        mode: 'managed',
        type: 'aws_security_group_rule',
        values: { type: 'ingress', ...world, from_port: 0, to_port: 0, protocol: '-1' },
      },
      {
        address: 'c',
        mode: 'managed',
        type: 'google_compute_firewall',
        values: { source_ranges: ['0.0.0.0/0'], allow: [{ protocol: 'tcp', ports: ['20-23'] }] },
      },
      {
        address: 'd',
        mode: 'managed',
        type: 'azurerm_network_security_rule',
        values: {
          access: 'Allow',
          direction: 'Inbound',
          source_address_prefix: '*',
          destination_port_range: '3389',
          protocol: 'Tcp',
        },
      },
      {
        address: 'e',
        mode: 'managed',
        type: 'aws_vpc_security_group_ingress_rule',
        values: { cidr_ipv4: '10.0.0.0/8', from_port: 22, to_port: 22, ip_protocol: 'tcp' },
      },
    ])
    const found = findings('plan.json', text, 'security.open-firewall').map((line) => line.replace(/^\S+ /, ''))
    assert.deepEqual(found.sort(), [
      'aws_security_group a: PostgreSQL (5432) is open to the world',
      'aws_security_group_rule b: all ports are open to the world',
      'azurerm_network_security_rule d: remote desktop (3389) is open to the world',
      'google_compute_firewall c: SSH (22) is open to the world',
    ])
  })

  test('templates of CloudFormation, with short functions and parameters', () => {
    const text = [
      'AWSTemplateFormatVersion: "2010-09-09"',
      'Parameters:',
      '  Public: { Type: String, Default: true }',
      '  Secret: { Type: String, NoEcho: true }',
      'Resources:',
      '  Db:',
      '    Type: AWS::RDS::DBInstance',
      '    Properties:',
      '      Engine: postgres',
      '      PubliclyAccessible: !Ref Public',
      '      MasterUserPassword: !Ref Secret',
      '      StorageEncrypted: !If [Prod, true, false]',
      '      MultiAZ: true',
      '  Group:',
      '    Type: AWS::EC2::SecurityGroup',
      '    Properties:',
      '      SecurityGroupIngress:',
      '        - { IpProtocol: tcp, FromPort: 22, ToPort: 22, CidrIp: 0.0.0.0/0 }',
      '  Own: { Type: Custom::Thing }',
    ].join('\n')
    const inventory = read('stack.yaml', text)
    assert.deepEqual(
      inventory.unknowns.map(({ kind }) => kind),
      ['Custom::Thing'],
    )
    assert.deepEqual(inventory.resources[0]?.facts.plainSecrets, [])
    assert.equal(inventory.resources[0]?.facts.encrypted, null)
    assert.deepEqual(findings('stack.yaml', text, 'security.public-database', 'security.open-firewall'), [
      'stack.yaml:7:5 AWS::RDS::DBInstance Db: it can be reached from the internet',
      'stack.yaml:18:11 AWS::EC2::SecurityGroup Group: SSH (22) is open to the world',
    ])
  })
})

suite('identities of clouds', () => {
  test('policies, trust, and roles for everybody', () => {
    const resource = (address: string, type: string, values: object): object => ({
      address,
      mode: 'managed',
      type,
      values,
    })
    const resources = [
      resource('a', 'aws_iam_role', {
        assume_role_policy: '{"Statement":{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"sts:AssumeRole"}}',
      }),
      resource('b', 'aws_iam_policy', {
        policy:
          '{"Statement":[{"Effect":"Deny","Action":"*","Resource":"*"},{"Effect":"Allow","Action":["s3:*"],"Resource":"*"}]}',
      }),
      resource('c', 'google_storage_bucket_iam_member', { role: 'roles/storage.objectViewer', member: 'allUsers' }),
      resource('d', 'google_project_iam_binding', { role: 'roles/owner', members: ['user:a@example.com'] }),
      resource('e', 'aws_iam_policy', { policy: 'not JSON' }),
    ]
    const text = JSON.stringify({ format_version: '1.2', planned_values: { root_module: { resources } } })
    const found = findings('plan.json', text, 'security.wildcard-rights', 'security.public-policy').map((line) =>
      line.replace(/^\S+ /, ''),
    )
    assert.deepEqual(found.sort(), [
      'aws_iam_policy b: it may do s3:* to *',
      'aws_iam_role a: everybody may sts:AssumeRole',
      'google_project_iam_binding d: it may do everything to everything',
      'google_storage_bucket_iam_member c: everybody may roles/storage.objectViewer',
    ])
  })
})

suite('units and Stead apps', () => {
  test('a unit: sections, repeated keys, continued lines', () => {
    const text =
      '# web\n[Unit]\nRequires=db.service\n[Service]\nExecStart=/usr/bin/web \\\n  --port 80\nEnvironment="DB_PASSWORD=hunter2 x" GREETING=hi\nUser=web\nNoNewPrivileges=yes\nRestart=always\n'
    const [unit] = read('units/web.service', text).workloads
    assert.equal(unit?.name, 'web')
    assert.deepEqual(unit?.dependsOn, [{ name: 'db', healthy: true }])
    assert.deepEqual(unit?.pod.containers[0]?.command, ['/usr/bin/web', '--port', '80'])
    assert.deepEqual(findings('web.service', text, 'security.plain-secret'), [
      'web.service:7:1 unit web: DB_PASSWORD stands in plain text',
    ])
  })

  test('a Stead app meets restricted, and its places are those of the app file', () => {
    const file = { path: 'app.ts', text: "import { app } from 'stead'\nconst web = service('web', {})\n" }
    const limits = { memoryBytes: 1, cpuCores: 1, pidsMax: 1 }
    const part = {
      kind: 'service',
      name: 'web',
      from: '.',
      run: ['node'],
      env: { API_TOKEN: 'abcdef-123' },
      uses: [],
      limits,
      egress: [],
      http: 80,
      ready: { kind: 'started' },
      replicas: 1,
    }
    const inventory = emptyInventory()
    readSteadApp(
      file,
      { version: 1, app: 'shop', parts: [part], routes: [{ host: 'h', path: '/', part: 'web' }] },
      inventory,
    )
    const report = checkInventory(inventory, { standard: mostStrict, nowMs: 0 })
    assert.deepEqual(
      report.findings.filter(({ rule }) => rule.id.startsWith('pod-security')),
      [],
    )
    assert.ok(report.passed.has('pod-security.run-as-non-root'))
    const drawn = checkGraph(
      JSON.parse(
        JSON.stringify({ version: 1, app: 'shop', parts: [part], routes: [{ host: 'h', path: '/', part: 'web' }] }),
      ),
      { standard: mostStrict, nowMs: 0 },
    )
    assert.deepEqual(drawn.singlePointsOfFailure, ['web'])
    assert.deepEqual(
      drawn.findings.map((finding) => finding.part).filter((name) => name !== 'web'),
      [],
    )
    assert.ok(drawn.availability !== null && drawn.availability < 1)
    const secret = report.findings.find(({ rule }) => rule.id === 'security.plain-secret')
    assert.equal(secret === undefined ? '' : formatPosition(secret.position), 'app.ts:2:21')
  })
})
