/** From values to the graph: defaults, order, what is reached through uses, and mistakes that types cannot see. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { canonicalJson } from '../base/index.ts'
import type { SteadError } from '../base/index.ts'
import { app, bucket, envPrefix, job, postgres, resource, secret, service, toGraph } from './index.ts'
import type { Declaration, Graph, JobOptions, ServiceOptions, WithProgram } from './index.ts'

const run = ['node', 'x.ts'] as const
const local = { name: 'local', production: false }

function graphOf(declaration: Declaration): Graph {
  return toGraph(
    app('shop', () => declaration),
    local,
  )
}

function refuses(build: () => unknown, code: string, message: RegExp): void {
  assert.throws(build, (error: SteadError) => {
    assert.equal(error.code, code, error.message)
    assert.match(error.message, message)
    assert.notEqual(error.hint, '', 'there is a hint')
    return true
  })
}

test('a bucket takes origins of pages, and nothing else for them', () => {
  const bad = (cors: unknown, message: RegExp): void =>
    refuses(() => bucket('files', Object.assign<object, object>({}, { cors })), 'model.bad-option', message)
  bad('https://shop.example', /cors must be a list of at most 100 origins, not 'https:\/\/shop.example'/)
  bad(['https://shop.example/'], /not 'https:\/\/shop.example\/'/)
  bad(['https://*.a.*'], /not 'https:\/\/\*/)
  bad([undefined], /cors must be/)
  bad(
    Array.from({ length: 101 }, () => '*'),
    /cors must be/,
  )
  const { part } = bucket('files', { cors: ['*', 'http://[::1]:3000', 'https://*.shop.example'] })
  assert.deepEqual(part.config, {
    versions: false,
    expiryDays: null,
    quotaBytes: null,
    corsOrigins: ['*', 'http://[::1]:3000', 'https://*.shop.example'],
    memoryBytes: 256_000_000,
  })
})

test('a bucket that somebody else runs: its secret comes along, its rights are said as for an own one', () => {
  const url = secret('files-url', { from: 'operator' })
  const files = bucket('files', { hosted: url, needs: ['versions', 'checksums'], cors: ['*'] })
  const web = service('web', { run, use: { files: files.only('read') } })
  const { parts } = graphOf({ parts: { web } })
  assert.deepEqual(
    parts.map((part) => part.name),
    ['files', 'files-url', 'web'],
  )
  assert.deepEqual(files.part.config, { hosted: 'files-url', needs: ['checksums', 'versions'], corsOrigins: ['*'] })
  const bad = (options: object, message: RegExp, code = 'model.bad-option'): void =>
    refuses(() => bucket('files', Object.assign({ hosted: url }, options)), code, message)
  bad({ hosted: 'https://x' }, /hosted must be a secret with the URL/)
  bad({ needs: ['speed'] }, /needs must be a list of putIfAbsent.*, not 'speed'/)
  bad({ needs: 'versions' }, /needs must be a list of/)
  bad({ quota: '1GB' }, /has no option 'quota'/, 'model.unknown-option')
})

test('state of a service is a resource that it alone uses', () => {
  const notes = service('notes', {
    run,
    http: 3000,
    state: { quiesce: ['./hold'], verify: ['./check', '-a'], pause: '1s' },
  })
  const graph = graphOf({ parts: { notes } })
  assert.deepEqual(
    graph.parts.map(({ name }) => name),
    ['notes', 'notes-state'],
  )
  const [part, state] = graph.parts
  assert.deepEqual(part?.kind === 'service' && part.uses, [{ as: 'state', part: 'notes-state' }])
  const hooks = { quiesce: ['./hold'], checkpoint: null, restore: null, verify: ['./check', '-a'] }
  const config = { of: 'notes', ...hooks, pauseMs: 1000, timeoutMs: 60_000 }
  assert.deepEqual(state, { kind: 'resource', name: 'notes-state', type: 'state', config, files: null })
  const named = service('notes', { run, state: { dir: 'index' } })
  assert.deepEqual(
    graphOf({ parts: { named } }).parts.map(({ name }) => name),
    ['index', 'notes'],
  )
})

test('state has one owner with one instance', () => {
  refuses(
    () => service('notes', { run, replicas: 2, state: {} }),
    'model.bad-option',
    /replicas must be 1 where there is state/,
  )
  refuses(() => service('notes', { run, state: { pause: '2m' } }), 'model.bad-option', /state\.pause/)
  refuses(() => service('notes', { run, state: { hold: [] } as never }), 'model.unknown-option', /'hold'/)
  refuses(() => service('notes', { run, use: { state: secret('s') }, state: {} }), 'model.bad-option', /'state'/)
  const notes = service('notes', { run, state: {} })
  const own = resource(
    'state',
    'notes-state',
    notes.use['state']?.part.kind === 'resource' ? notes.use['state'].part.config : {},
  )
  const thief = service('thief', { run, use: { own } })
  refuses(
    () => graphOf({ parts: { thief } }),
    'model.bad-state',
    /belongs to service 'notes' alone, and is used by service 'thief'/,
  )
  refuses(
    () => graphOf({ parts: { web: service('web', { run, use: { files: resource('state', 'files') } }) } }),
    'model.bad-state',
    /has a config/,
  )
})

test('every field is there, and nothing that was said is lost', () => {
  const db = postgres('db', { migrations: './migrations/', memory: '1GB', version: '17' })
  const key = secret('session-key')
  const api = service('api', { run, http: 4000, from: './services//api' })
  const web = service('web', {
    run,
    from: 'web',
    http: 3000,
    use: { sessionKey: key, db, api },
    env: { B: '2', A: '1' },
    limits: { memory: '256MB', cpus: 0.5, processes: 64 },
    ready: { http: '/healthz?deep=1', timeout: '1m' },
    replicas: 2,
    egress: ['Z.example.com:443', 'a.example.com:25', 'z.example.com:443'],
  })
  const tidy = job('tidy', { run, use: { db }, schedule: '30 3 * * *', timeout: '1h' })
  const graph = graphOf({ parts: { web, tidy }, public: { 'Shop.localhost/': web, 'shop.localhost/api': api } })
  const common = { run: ['node', 'x.ts'], env: {}, uses: [], egress: [], tripwire: 'off' as const }
  const limits = { memoryBytes: 512_000_000, cpuCores: 1, pidsMax: 128 }
  assert.deepEqual(graph, {
    version: 1,
    app: 'shop',
    parts: [
      {
        kind: 'service',
        name: 'api',
        from: 'services/api',
        ...common,
        limits,
        http: 4000,
        ready: { kind: 'http', path: '/', statusBelow: 500, timeoutMs: 30_000 },
        replicas: 1,
        onSecretChange: 'restart',
      },
      {
        kind: 'resource',
        name: 'db',
        type: 'postgres',
        config: { version: '17', memoryBytes: 1_000_000_000, maxConnections: 100 },
        files: 'migrations',
      },
      {
        kind: 'resource',
        name: 'session-key',
        type: 'secret',
        config: { from: 'generated', rotateMs: null },
        files: null,
      },
      {
        kind: 'job',
        name: 'tidy',
        from: '.',
        ...common,
        uses: [{ as: 'db', part: 'db' }],
        limits,
        schedule: '30 3 * * *',
        timeZone: 'UTC',
        overlap: { runsMax: 1, queueMax: 0 },
        missed: { runsMax: 1, withinMs: 86_400_000 },
        retry: { attempts: 3, pauseMs: 500 },
        timeoutMs: 3_600_000,
      },
      {
        kind: 'service',
        name: 'web',
        from: 'web',
        ...common,
        env: { A: '1', B: '2' },
        uses: [
          { as: 'api', part: 'api' },
          { as: 'db', part: 'db' },
          { as: 'sessionKey', part: 'session-key' },
        ],
        limits: { memoryBytes: 256_000_000, cpuCores: 0.5, pidsMax: 64 },
        egress: ['a.example.com:25', 'z.example.com:443'],
        tripwire: 'off',
        http: 3000,
        ready: { kind: 'http', path: '/healthz?deep=1', statusBelow: 400, timeoutMs: 60_000 },
        replicas: 2,
        onSecretChange: 'restart',
      },
    ],
    routes: [
      { host: 'shop.localhost', path: '/', part: 'web' },
      { host: 'shop.localhost', path: '/api', part: 'api' },
    ],
  })
})

test('what is set aside for data', () => {
  const web = service('web', { run })
  assert.equal(graphOf({ parts: { web }, data: '10GB' }).dataBytes, 10_000_000_000)
  assert.ok(!('dataBytes' in graphOf({ parts: { web } })))
  refuses(
    () => graphOf({ parts: { web }, data: '1MB' }),
    'model.bad-option',
    /data must be an amount from 256MiB to 16TB/,
  )
})

test('equal apps give equal bytes, whatever the order they are written in', () => {
  const db = postgres('db')
  const [a, b] = [service('a', { run, http: 1, use: { db } }), service('b', { run, http: 2, env: { X: '1', Y: '2' } })]
  const again = service('b', { env: { Y: '2', X: '1' }, http: 2, run })
  const one = graphOf({ parts: { a, b, db }, public: { 'x.localhost': a, 'a.localhost': b } })
  const two = graphOf({ parts: { again, a }, public: { 'a.localhost': again, 'x.localhost': a } })
  assert.equal(canonicalJson(one), canonicalJson(two))
})

test('the environment is all an app depends on', () => {
  const shop = app('shop', ({ env }) => ({
    parts: { web: service('web', { run, replicas: env.production ? 3 : 1, env: { WHERE: env.name } }) },
  }))
  const [web] = toGraph(shop, { name: 'prod', production: true }).parts
  assert.ok(web?.kind === 'service' && web.replicas === 3 && web.env['WHERE'] === 'prod')
})

test('every form of ready', () => {
  const ready = (options: Partial<ServiceOptions<number>>): unknown =>
    service('web', { run, http: 80, ...options }).part.ready
  assert.deepEqual(ready({ ready: '/up' }), { kind: 'http', path: '/up', statusBelow: 400, timeoutMs: 30_000 })
  assert.deepEqual(ready({ ready: { tcp: 5432 } }), { kind: 'tcp', port: 5432, timeoutMs: 30_000 })
  assert.deepEqual(ready({ ready: { command: ['./check'], timeout: '2m' } }), {
    kind: 'command',
    run: ['./check'],
    timeoutMs: 120_000,
  })
  assert.deepEqual(service('worker', { run }).part.ready, { kind: 'started', timeoutMs: 30_000 })
})

test('names that cannot be one are refused', () => {
  for (const name of ['', 'Web', 'web_1', '1web', '-web', 'web-', 'a'.repeat(41), 'wéb', 'web web', undefined, 7]) {
    refuses(() => service(name as string, { run }), 'model.bad-name', /^The name of a service must be .*, not /)
    refuses(() => app(name as string, () => ({ parts: {} })), 'model.bad-name', /^The name of an app must be /)
  }
  service('a', { run })
  service('a'.repeat(40), { run })
})

test('two parts of one name are refused, the same part twice is not', () => {
  const db = postgres('db')
  const web = service('web', { run, use: { db, main: db } })
  graphOf({ parts: { web, again: web, db } })
  refuses(
    () => graphOf({ parts: { web, worker: service('worker', { run, use: { db: secret('db') } }) } }),
    'model.duplicate-name',
    /Two parts have the same name: postgres 'db' and secret 'db'\./,
  )
})

test('routes: one form, conflicts named', () => {
  const web = service('web', { run, http: 80 })
  const admin = service('admin', { run, http: 81 })
  refuses(
    () => graphOf({ parts: {}, public: { 'shop.localhost/admin': admin, 'Shop.LOCALHOST/admin/': web } }),
    'model.route-conflict',
    /The route shop\.localhost\/admin leads to '(?:web|admin)' and to '(?:web|admin)'\./,
  )
  for (const key of [
    '',
    '/',
    'http://shop',
    'shop:80',
    'shop/a?b',
    'shop//a',
    'shop/../a',
    'sh op',
    '*.',
    'a.*.b',
    '-a',
    'shop/a%2fb',
  ]) {
    refuses(
      () => graphOf({ parts: {}, public: { [key]: web } }),
      'model.bad-route',
      /app 'shop': '.*' in public is no host/,
    )
  }
  assert.deepEqual(graphOf({ parts: {}, public: { '*.shop.example.com/a/b.c': web } }).routes, [
    { host: '*.shop.example.com', path: '/a/b.c', part: 'web' },
  ])
})

test('what types cannot see is refused with part and option', () => {
  const bad = (options: object, message: RegExp, code = 'model.bad-option'): void =>
    refuses(() => service('web', Object.assign({ run }, options)), code, message)
  bad({ http: 0 }, /service 'web': http must be a whole number from 1 to 65535, not 0\./)
  bad({ http: 3000.5 }, /http must be a whole number/)
  bad({ replicas: 101 }, /replicas must be a whole number from 1 to 100, not 101/)
  bad({ limits: { memory: '1MB' } }, /limits.memory must be an amount from 8MB to 4TB, not '1MB'/)
  bad({ limits: { memory: '256 MB' } }, /limits.memory/)
  bad({ limits: { cpus: 0 } }, /limits.cpus must be a number from 0.05 to 1024, not 0/)
  bad({ limits: { cpus: Number.NaN } }, /limits.cpus/)
  bad({ limits: { processes: 1.5 } }, /limits.processes/)
  bad({ ready: '/healthz' }, /service 'web': ready asks for '\/healthz', but the service has no `http` port\./)
  bad({ http: 80, ready: 'healthz' }, /ready must be a path, not 'healthz'/)
  bad({ ready: { tcp: 0 } }, /ready.tcp/)
  bad({ ready: { tcp: 80, timeout: '10ms' } }, /ready.timeout must be a duration from 1s to 1h, not '10ms'/)
  bad({ ready: {} }, /exactly one of http, tcp and command, not none/)
  bad({ env: { 'A-B': 'x' } }, /a name in env must be letters, digits and underscores, not 'A-B'/)
  bad({ env: { A: 'x\0' } }, /env.A must be a text/)
  bad({ use: { 'my-db': postgres('db') } }, /a name in use must be camel case, .*, not 'my-db'/)
  bad({ egress: ['example.com:70000'] }, /an entry of egress must be `host:port`, not 'example.com:70000'/)
  bad({ use: new Map([['db', postgres('db')]]) }, /use must be a plain object, not an object\./)
  bad({ egress: 'example.com:80' }, /egress must be a list/)
  for (const entry of [
    '*.com:443',
    '*:443',
    'a.*.com:443',
    '1.2.3:80',
    '1.2.3.400:80',
    '10.0.0.0/33:80',
    '[::1]:80',
    'a_b:80',
    ':80',
  ])
    bad({ egress: [entry] }, /an entry of egress must be/)
  const open = ['*.example.com:443', '10.0.0.0/8:5432', '10.1.2.3:22', 'localhost:1', '3com.example:80'] as const
  assert.deepEqual(service('web', { run, egress: [...open] }).part.egress, [...open].sort())
  bad({ tripwire: 'explode' }, /tripwire must be 'off', 'record' or 'freeze', not 'explode'/)
  for (const from of ['', '/srv', '../web', 'a/../../b', 'a\\b', './..', 'x\ny', 7]) {
    bad({ from }, /service 'web': from must be a directory/)
  }
  refuses(() => postgres('db', { version: '9.6' }), 'model.bad-option', /version must be a major version as text/)
  refuses(() => postgres('db', { migrations: '/etc' }), 'model.bad-option', /postgres 'db': migrations must be/)
  refuses(() => postgres('db', { maxConnections: 1 }), 'model.bad-option', /maxConnections must be/)
  refuses(() => postgres('db', { log: { size: '1MB' } }), 'model.bad-option', /log\.size must be an amount from 64MiB/)
  refuses(() => postgres('db', { log: { keep: '1s' } }), 'model.bad-option', /log\.keep must be a duration/)
  refuses(() => resource('Queue', 'mail'), 'model.bad-option', /resource: type must be/)
  refuses(
    () => resource('queue', 'mail', { f: Number.NaN }),
    'model.bad-option',
    /queue 'mail': config must be plain JSON/,
  )
  refuses(() => resource('queue', 'mail', 'x'.repeat(70_000)), 'model.bad-option', /config must be at most 65536/)
  refuses(
    () => toGraph({ name: 'shop' }, local),
    'model.not-an-app',
    /The default export is a plain object, not an app\./,
  )
  refuses(() => toGraph(undefined, local), 'model.not-an-app', /The default export is undefined/)
  refuses(() => graphOf({ parts: [] as never }), 'model.bad-option', /parts must be a plain object, not a list/)
})

test('schedules that are none, or never come, are refused', () => {
  const bad = (schedule: unknown, message: RegExp): void =>
    refuses(() => job('tidy', { run, schedule } as JobOptions & WithProgram), 'model.bad-schedule', message)
  bad('every day', /job 'tidy': schedule 'every day' does not have the five fields/)
  bad('@daily', /does not have the five fields/)
  bad('0 0 3 * * *', /does not have the five fields/)
  bad('61 * * * *', /job 'tidy': schedule '61 \* \* \* \*' is no cron expression/)
  bad('x * * * *', /is no cron expression/)
  bad('0 0 30 2 *', /schedule '0 0 30 2 \*' never falls due\./)
  bad(5, /schedule 5 is no text/)
  bad(
    { cron: '0 3 * * *', timeZone: 'Europe/Atlantis' },
    /is in the time zone 'Europe\/Atlantis', which does not exist/,
  )
  bad({ timeZone: 'UTC' }, /schedule undefined is no text/)
  for (const schedule of ['* * * * *', '*/5 0-6 1,15 JAN MON-FRI', '0 0 29 2 *']) job('tidy', { run, schedule })
})

test('what a schedule says of runs that meet and of runs that are missed, and how a run is tried again', () => {
  const times = (options: object): unknown => {
    const { schedule, timeZone, overlap, missed, retry } = job('tidy', Object.assign({ run }, options)).part
    return { schedule, timeZone, overlap, missed, retry }
  }
  assert.deepEqual(
    times({
      schedule: { cron: '0 3 * * *', timeZone: 'Europe/Berlin', overlap: { atMost: 3 }, missed: { last: 10 } },
      retry: { attempts: 5, pause: '10s' },
    }),
    {
      schedule: '0 3 * * *',
      timeZone: 'Europe/Berlin',
      overlap: { runsMax: 3, queueMax: 0 },
      missed: { runsMax: 10, withinMs: 366 * 86_400_000 },
      retry: { attempts: 5, pauseMs: 10_000 },
    },
  )
  const bad = (options: object, message: RegExp, code = 'model.bad-option'): void =>
    refuses(() => job('tidy', Object.assign({ run }, options)), code, message)
  const cron = '0 3 * * *'
  bad({ schedule: { cron, overlap: 'wait' } }, /schedule.overlap must be 'skip', 'queue' or \{ atMost \}, not 'wait'/)
  bad({ schedule: { cron, overlap: { atMost: 0 } } }, /schedule.overlap.atMost must be a whole number from 1 to 100/)
  bad({ schedule: { cron, missed: { once: 'soon' } } }, /schedule.missed.once must be a duration/)
  bad({ schedule: { cron, missed: { last: 101 } } }, /schedule.missed.last must be a whole number from 1 to 100/)
  bad({ schedule: { cron, timeZone: 5 } }, /schedule.timeZone must be the name of a time zone, not 5/)
  bad({ schedule: { cron, zone: 'UTC' } }, /schedule has no option 'zone'/, 'model.unknown-option')
  bad({ retry: { attempts: 0 } }, /retry.attempts must be a whole number from 1 to 20, not 0/)
  bad({ retry: { attempts: 2, pause: '1h' } }, /retry.pause must be a duration from 100ms to 10m/)
})

test('what a use is called and what its variables are called never clash', () => {
  assert.equal(envPrefix('db'), 'DB')
  assert.equal(envPrefix('mailQueue2'), 'MAIL_QUEUE2')
  const aliases = ['mailQueue', 'mailqueue', 'mailQUEUE', 'dbURL', 'dbUrl']
  assert.equal(new Set(aliases.map(envPrefix)).size, aliases.length)
})

test('values do not change after they are made', () => {
  const env: Record<string, string> = { A: '1' }
  const use: Record<string, ReturnType<typeof postgres>> = { db: postgres('db') }
  const web = service('web', { run, env, use })
  env['A'] = '2'
  use['more'] = postgres('more')
  assert.deepEqual(web.part.env, { A: '1' })
  assert.deepEqual(
    graphOf({ parts: { web } }).parts.map((part) => part.name),
    ['db', 'web'],
  )
  assert.throws(() => Object.assign(web, { name: 'other' }), TypeError)
})

test('a database that somebody else runs brings its secret along', () => {
  const url = secret('db-url', { from: 'operator' })
  const db = postgres('db', { hosted: url, database: 'shop', migrations: './migrations' })
  const graph = graphOf({ parts: { web: service('web', { run, use: { db } }) } })
  assert.deepEqual(
    graph.parts.map(({ name }) => name),
    ['db', 'db-url', 'web'],
  )
  assert.deepEqual(db.part.config, { hosted: 'db-url', database: 'shop', tls: 'required' })
  const bad = (options: object, message: RegExp, code = 'model.bad-option'): void =>
    refuses(() => postgres('db', Object.assign({ hosted: url, database: 'shop' }, options)), code, message)
  bad({ hosted: 'postgresql://x' }, /hosted must be a secret with the URL/)
  bad({ hosted: postgres('other') }, /hosted must be a secret with the URL, not postgres 'other'/)
  bad({ database: '' }, /database must be the name of a database/)
  bad({ tls: 'maybe' }, /tls must be 'required' or 'off', not 'maybe'/)
  bad({ memory: '1GB' }, /postgres 'db' has no option 'memory'/, 'model.unknown-option')
})
