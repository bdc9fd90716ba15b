/**
 * Wrong wiring does not compile, and the same mistake in JavaScript is an error that names part and option. Each case
 * below stands under a directive that makes the type check fail when the mistake starts to compile.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { SteadError } from '../base/index.ts'
import { app, bucket, job, postgres, queue, resource, secret, service, toGraph } from './index.ts'
import type { App, MessageOf, Resource, RightsUse, Service } from './index.ts'
import { narrowable } from './rights.ts'

const run = ['node', 'x.ts'] as const
const local = { name: 'local', production: false }
const db = postgres('db')
const api = service('api', { run, http: 3000 })
const mail = narrowable(resource('queue', 'mail'))
const files = bucket('invoices')
const silent = service('silent', { run })
const broker = service('broker', { run, tcp: 1883 })
const nightly = job('nightly', { run })

function refused(name: string, build: () => unknown, code: string, message: RegExp): void {
  test(`refused: ${name}`, () => {
    assert.throws(build, (error: SteadError) => {
      assert.equal(error.code, code)
      assert.match(error.message, message)
      assert.match(error.message, /\.$/)
      assert.notEqual(error.hint, '')
      return true
    })
  })
}

function declared(value: App): () => unknown {
  return () => toGraph(value, local)
}

test('right wiring compiles and keeps its types', () => {
  const bytes: Resource<'postgres'> = db
  const token: Resource<'secret'> = secret('token', { from: 'operator' })
  const queue: Resource<'queue'> = resource('queue', 'mail', { retries: 3 })
  const port: 3000 = service('typed', { run, http: 3000 }).http
  const program: Service = service('program', {
    run: ['python3', 'main.py'],
    use: { db, api, token, queue, bytes },
    limits: { memory: '256MB', cpus: 0.5, processes: 64 },
    ready: { command: ['./check'], timeout: '1m' },
    egress: ['smtp.example.com:587'],
  })
  const shop = app('shop', ({ env }) => ({
    parts: { program, nightly, db },
    public: { 'shop.localhost': service('web', { run, http: 8080, replicas: env.production ? 3 : 1 }) },
  }))
  assert.equal(port, 3000)
  assert.deepEqual(
    toGraph(shop, local).parts.map((part) => part.name),
    ['api', 'db', 'mail', 'nightly', 'program', 'token', 'web'],
  )
})

test('a queue knows what its messages are', () => {
  const orders = queue<{ to: string; order: number }>('orders', {
    retry: { attempts: 3, pause: '5s' },
    message: '64KB',
  })
  const order: MessageOf<typeof orders> = { to: 'a@example.com', order: 1 }
  // @ts-expect-error an order has a number
  const wrong: MessageOf<typeof orders> = { to: 'a@example.com', order: 'one' }
  assert.notDeepEqual(order, wrong)
  assert.deepEqual(orders.part.config, {
    attemptsMax: 3,
    firstDelayMs: 5000,
    factor: 4,
    delayMsMax: 300_000,
    leaseMs: 30_000,
    bodyBytesMax: 64_000,
    messagesMax: 1_000_000,
    bytesMax: 1_000_000_000,
  })
})
// @ts-expect-error a number of attempts
refused('attempts in words', () => queue('mail', { retry: { attempts: 'many' } }), 'model.bad-option', /retry.attempts/)
// @ts-expect-error no such option
refused('an unknown option of a queue', () => queue('mail', { retries: 3 }), 'model.unknown-option', /retries/)
refused('a lease that is too long', () => queue('mail', { lease: '2d' }), 'model.bad-option', /lease/)

test('a use with some of the rights compiles, stands in the graph, and brings the whole resource', () => {
  const sending: RightsUse<'queue'> = mail.only('send')
  const web = service('web', { run, use: { mail: sending, all: mail } })
  const worker = job('worker', { run, use: { mail: mail.only('receive', 'manage', 'receive') } })
  const { parts } = toGraph(
    app('shop', () => ({ parts: { web, worker, mail } })),
    local,
  )
  assert.deepEqual(
    parts.map((part) => (part.kind === 'resource' ? part.name : part.uses)),
    [
      'mail',
      [
        { as: 'all', part: 'mail' },
        { as: 'mail', part: 'mail', rights: ['send'] },
      ],
      [{ as: 'mail', part: 'mail', rights: ['manage', 'receive'] }],
    ],
  )
})

test('a bucket with options, and parts that may do some of it', () => {
  const cors = ['https://shop.example']
  const kept = bucket('kept', { versions: true, expiry: '30d', quota: '1GB', cors, memory: '128MB' })
  const web = service('web', { run, use: { files: files.only('presign'), kept: kept.only('read', 'list') } })
  const { parts } = toGraph(
    app('shop', () => ({ parts: { web } })),
    local,
  )
  assert.deepEqual(
    parts.map((part) => (part.kind === 'resource' ? part.config : part.uses.map((use) => use.rights))),
    [
      { versions: false, expiryDays: null, quotaBytes: null, corsOrigins: [], memoryBytes: 256_000_000 },
      { versions: true, expiryDays: 30, quotaBytes: 1_000_000_000, corsOrigins: cors, memoryBytes: 128_000_000 },
      [['presign'], ['list', 'read']],
    ],
  )
})

test('ways in of every kind compile, and stand in the graph by what they are', () => {
  const talk = service('talk', { run, http: 50_051, protocol: 'h2c' })
  const port: 1883 = broker.tcp
  const user = service('user', { run, use: { broker, talk } })
  const { routes, streams, parts } = toGraph(
    app('shop', () => ({
      parts: { user },
      public: {
        'files.localhost': files,
        'talk.localhost': talk,
        'shop.localhost': { to: api, hsts: '180d' },
        'old.localhost': { to: api, plain: 'serve' },
        'tls:mqtt.localhost': broker,
        'tcp:15432': db,
        'tcp:1883': broker,
      },
    })),
    local,
  )
  assert.equal(port, 1883)
  assert.deepEqual(routes, [
    { host: 'files.localhost', path: '/', part: 'invoices' },
    { host: 'old.localhost', path: '/', part: 'api', plain: 'serve' },
    { host: 'shop.localhost', path: '/', part: 'api', hstsS: 15_552_000 },
    { host: 'talk.localhost', path: '/', part: 'talk' },
  ])
  assert.deepEqual(streams, [
    { way: { kind: 'tcp', port: 1883 }, part: 'broker' },
    { way: { kind: 'tcp', port: 15_432 }, part: 'db' },
    { way: { kind: 'tls', host: 'mqtt.localhost' }, part: 'broker' },
  ])
  const ports = parts.flatMap((part) =>
    part.kind === 'service' ? [[part.name, part.http, part.tcp, part.ready.kind]] : [],
  )
  assert.deepEqual(ports, [
    ['api', 3000, undefined, 'http'],
    ['broker', null, 1883, 'tcp'],
    ['talk', 50_051, undefined, 'tcp'],
    ['user', null, undefined, 'started'],
  ])
})

refused(
  'TCP to a service of HTTP',
  // @ts-expect-error it would be carried without a look at hosts and limits
  declared(app('shop', () => ({ parts: {}, public: { 'tcp:3000': api } }))),
  'model.bad-public',
  /public\['tcp:3000'\] must be a service with `tcp`, or a resource, not service 'api'/,
)
refused(
  'TLS that ends at a database',
  // @ts-expect-error it has no key
  declared(app('shop', () => ({ parts: {}, public: { 'tls:db.localhost': db } }))),
  'model.bad-public',
  /public\['tls:db.localhost'\] must be a service with `tcp`, which ends the TLS, not postgres 'db'/,
)
refused(
  'a host that leads to a service of TCP',
  // @ts-expect-error it does not speak HTTP
  declared(app('shop', () => ({ parts: {}, public: { 'mqtt.localhost': broker } }))),
  'model.bad-public',
  /must be a service with `http`, or, without a path, a bucket, not service 'broker'/,
)
refused(
  'a misspelt option of a way in',
  // @ts-expect-error misspelt
  declared(app('shop', () => ({ parts: {}, public: { 'shop.localhost': { to: api, htst: '1d' } } }))),
  'model.unknown-option',
  /app 'shop': public\['shop.localhost'\] has no option 'htst'/,
)
refused(
  'HSTS without a unit',
  // @ts-expect-error durations have units
  declared(app('shop', () => ({ parts: {}, public: { 'shop.localhost': { to: api, hsts: '180' } } }))),
  'model.bad-option',
  /public\['shop.localhost'\].hsts must be a duration from 1s to 730d, not '180'/,
)
refused(
  'a port that is none',
  declared(app('shop', () => ({ parts: {}, public: { 'tcp:70000': broker } }))),
  'model.bad-route',
  /'tcp:70000' in public is no port after 'tcp:'/,
)
refused(
  'a server name with a path',
  declared(app('shop', () => ({ parts: {}, public: { 'tls:a.localhost/x': broker } }))),
  'model.bad-route',
  /'tls:a.localhost\/x' in public is no host after 'tls:'/,
)
refused(
  'one port written in two ways',
  declared(app('shop', () => ({ parts: {}, public: { 'tcp:0443': broker, 'tcp:443': db } }))),
  'model.route-conflict',
  /The way in tcp:443 leads to 'broker' and to 'db'/,
)
refused(
  'HTTP and TCP at once',
  () => service('both', { run, http: 80, tcp: 81 }),
  'model.bad-option',
  /service 'both': tcp must be absent where there is http, not 81/,
)
refused(
  'a protocol without HTTP',
  () => service('talk', { run, tcp: 81, protocol: 'h2c' }),
  'model.bad-option',
  /service 'talk': protocol must be 'h2c' beside http, or absent/,
)
refused(
  'a protocol that is none',
  // @ts-expect-error no such protocol
  () => service('talk', { run, http: 81, protocol: 'grpc' }),
  'model.bad-option',
  /protocol must be 'h2c' beside http, or absent, not 'grpc'/,
)

refused(
  'a text instead of a value',
  // @ts-expect-error a name is not a dependency
  () => service('web', { run, use: { db: 'db' } }),
  'model.bad-use',
  /service 'web' cannot use 'db' as 'db'/,
)
refused(
  'a job as a dependency',
  // @ts-expect-error nothing can use a job
  () => service('web', { run, use: { nightly } }),
  'model.bad-use',
  /service 'web' cannot use job 'nightly'/,
)
refused(
  'a service without http as a dependency',
  // @ts-expect-error a service that serves nothing cannot be used
  () => job('report', { run, use: { silent } }),
  'model.bad-use',
  /job 'report' cannot use service 'silent'/,
)
refused(
  'a plain object as a dependency',
  // @ts-expect-error only builders make values
  () => service('web', { run, use: { db: { name: 'db', type: 'postgres' } } }),
  'model.bad-use',
  /service 'web' cannot use a plain object as 'db'/,
)
refused(
  'an app as a dependency',
  // @ts-expect-error an app is no part
  () => service('web', { run, use: { shop: app('shop', () => ({ parts: {} })) } }),
  'model.bad-use',
  /cannot use app 'shop'/,
)
refused(
  'a bucket below a path',
  declared(app('shop', () => ({ parts: {}, public: { 'shop.localhost/files': files } }))),
  'model.bad-public',
  /public\['shop.localhost\/files'\] must be a service with `http`, or, without a path, a bucket, not bucket 'invoices'/,
)
refused(
  'an expiry in hours',
  () => bucket('invoices', { expiry: '36h' }),
  'model.bad-option',
  /bucket 'invoices': expiry must be in whole days, not '36h'/,
)
refused(
  'a name that is too short for a bucket',
  () => bucket('in'),
  'model.bad-option',
  /bucket 'in': its name must be at least 3 characters, not 'in'/,
)
refused(
  'a right that no bucket has',
  // @ts-expect-error no such right
  () => files.only('delete'),
  'model.bad-option',
  /bucket 'invoices': a right must be one of read, write, list, presign, not 'delete'/,
)
refused(
  'a misspelt option of a bucket',
  // @ts-expect-error misspelt
  () => bucket('invoices', { version: true }),
  'model.unknown-option',
  /bucket 'invoices' has no option 'version'/,
)
refused(
  'a right of another type',
  // @ts-expect-error objects are read, messages are received
  () => mail.only('read'),
  'model.bad-option',
  /queue 'mail': a right must be one of send, receive, manage, not 'read'/,
)
refused(
  'no right at all',
  // @ts-expect-error nothing to use
  () => mail.only(),
  'model.bad-option',
  /queue 'mail': only must be called with at least one right/,
)
refused(
  'a use with rights as a part',
  // @ts-expect-error it is what one user gets
  declared(app('shop', () => ({ parts: { mail: mail.only('send') } }))),
  'model.bad-option',
  /app 'shop': parts.mail must be a part, not queue 'mail' with only send/,
)
refused(
  'a list of dependencies',
  // @ts-expect-error every use has a name
  () => service('web', { run, use: [db] }),
  'model.bad-option',
  /service 'web': use must be a plain object, not a list/,
)
refused(
  'a misspelt option',
  // @ts-expect-error misspelt
  () => service('web', { run, htpp: 3000 }),
  'model.unknown-option',
  /service 'web' has no option 'htpp'/,
)
refused(
  'an option of another builder',
  // @ts-expect-error jobs have no replicas
  () => job('report', { run, replicas: 2 }),
  'model.unknown-option',
  /job 'report' has no option 'replicas'/,
)
refused(
  'a misspelt limit',
  // @ts-expect-error misspelt
  () => service('web', { run, limits: { mem: '1GB' } }),
  'model.unknown-option',
  /service 'web': limits has no option 'mem'/,
)
refused(
  'a misspelt option of a resource',
  // @ts-expect-error misspelt
  () => postgres('db', { migration: './migrations' }),
  'model.unknown-option',
  /postgres 'db' has no option 'migration'/,
)
refused(
  'an unknown option of a secret',
  // @ts-expect-error misspelt
  () => secret('key', { rotation: '30d' }),
  'model.unknown-option',
  /secret 'key' has no option 'rotation'/,
)
refused(
  'the rotation of a value that only a person knows',
  // @ts-expect-error the platform cannot make one
  () => secret('key', { from: 'operator', rotate: '30d' }),
  'model.bad-option',
  /secret 'key': rotate must be used with from: 'generated' only/,
)
refused(
  'a secret from nowhere',
  // @ts-expect-error one of two
  () => secret('key', { from: 'vault' }),
  'model.bad-option',
  /secret 'key': from must be 'generated' or 'operator', not 'vault'/,
)
refused(
  'a change that is none',
  // @ts-expect-error a signal that ends programs
  () => service('web', { run: ['node'], onSecretChange: 'SIGKILL' }),
  'model.bad-option',
  /service 'web': onSecretChange must be one of restart, watch, SIGHUP/,
)
refused(
  'two kinds of ready check',
  // @ts-expect-error exactly one
  () => service('web', { run, http: 80, ready: { tcp: 80, http: '/' } }),
  'model.bad-option',
  /service 'web': ready must have exactly one of http, tcp and command, not http and tcp/,
)
refused(
  'a program without words',
  // @ts-expect-error at least the program
  () => service('web', { run: [] }),
  'model.bad-option',
  /service 'web': run must be a list of texts/,
)
refused(
  'a program as a shell line',
  // @ts-expect-error there is no shell
  () => service('web', { run: 'node server.ts' }),
  'model.bad-option',
  /service 'web': run must be a list of texts, not 'node server.ts'/,
)
refused(
  'memory as a number',
  // @ts-expect-error amounts have units
  () => service('web', { run, limits: { memory: 256 } }),
  'model.bad-option',
  /service 'web': limits.memory must be an amount from 8MB to 4TB, not 256/,
)
refused(
  'an unknown unit',
  // @ts-expect-error no such unit
  () => postgres('db', { memory: '1 gigabyte' }),
  'model.bad-option',
  /postgres 'db': memory must be an amount/,
)
refused(
  'backups with a key that is no secret',
  // @ts-expect-error a text is no secret
  declared(app('shop', () => ({ parts: {}, backup: { to: '/mnt/disk', key: 'mine' } }))),
  'model.bad-option',
  /app 'shop': backup\.key must be a secret, not 'mine'/,
)
refused(
  'backups to nowhere',
  // @ts-expect-error a place is an absolute path or of an S3 server
  declared(app('shop', () => ({ parts: {}, backup: { to: 'backups' } }))),
  'model.bad-option',
  /app 'shop': backup\.to must be a place/,
)
refused(
  'a misspelt option of backups',
  // @ts-expect-error misspelt
  declared(app('shop', () => ({ parts: {}, backup: { to: '/mnt/disk', evry: '1d' } }))),
  'model.unknown-option',
  /app 'shop': backup has no option 'evry'/,
)
refused(
  'a misspelt option of the log',
  // @ts-expect-error misspelt
  () => postgres('db', { log: { keeps: '7d' } }),
  'model.unknown-option',
  /postgres 'db': log has no option 'keeps'/,
)
refused(
  'a duration without a unit',
  // @ts-expect-error durations have units
  () => job('report', { run, timeout: '30' }),
  'model.bad-option',
  /job 'report': timeout must be a duration from 1s to 7d, not '30'/,
)
refused(
  'an environment variable that is no text',
  // @ts-expect-error texts only
  () => service('web', { run, env: { PORT: 3000 } }),
  'model.bad-option',
  /service 'web': env.PORT must be a text, not 3000/,
)
refused(
  'egress without a port',
  // @ts-expect-error host:port
  () => service('web', { run, egress: ['example.com'] }),
  'model.bad-option',
  /service 'web': an entry of egress must be `host:port`, not 'example.com'/,
)
refused(
  'a resource made public',
  // @ts-expect-error only services answer
  declared(app('shop', () => ({ parts: {}, public: { 'shop.localhost': db } }))),
  'model.bad-public',
  /app 'shop': public\['shop.localhost'\] must be a service with `http`, or, without a path, a bucket, not postgres 'db'/,
)
refused(
  'a service without http made public',
  // @ts-expect-error it serves nothing
  declared(app('shop', () => ({ parts: {}, public: { 'shop.localhost': silent } }))),
  'model.bad-public',
  /not service 'silent'/,
)
refused(
  'a text made public',
  // @ts-expect-error a name is not a service
  declared(app('shop', () => ({ parts: {}, public: { 'shop.localhost': 'web' } }))),
  'model.bad-public',
  /not 'web'/,
)
refused(
  'a misspelt field of the declaration',
  // @ts-expect-error misspelt
  declared(app('shop', () => ({ parts: {}, publik: {} }))),
  'model.unknown-option',
  /app 'shop': what its function answers has no option 'publik'/,
)
refused(
  'no parts',
  // @ts-expect-error parts are required
  declared(app('shop', () => ({}))),
  'model.bad-option',
  /app 'shop': parts must be a plain object, not undefined/,
)
refused(
  'a plain object as a part',
  // @ts-expect-error only builders make values
  declared(app('shop', () => ({ parts: { web: { run } } }))),
  'model.bad-option',
  /app 'shop': parts.web must be a part, not a plain object/,
)
refused(
  'an asynchronous function',
  // @ts-expect-error the answer is not a promise
  declared(app('shop', async () => ({ parts: {} }))),
  'model.bad-option',
  /app 'shop': its function must be synchronous, not a promise/,
)
