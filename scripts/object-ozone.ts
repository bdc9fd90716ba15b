/**
 * Apache Ozone as one process that can be started and ended: its two managers, a datanode and the S3 gateway, four programs of Java
 * out of one folder of libraries. `scripts/node scripts/object-ozone.ts JARS DIR S3-PORT`; all of them listen on the loopback.
 * Without Kerberos the gateway believes every signature.
 */
import { spawn, spawnSync } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { mkdirSync, openSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { freePorts } from './object-servers.ts'

const initMs = 180_000
const waitMsMax = 180_000

/** What is not as Ozone has it by itself: one datanode, one copy, ports of the loopback that are free. */
function configuration(dir: string, s3Port: number, scmHttpPort: number, ports: readonly number[]): string {
  const addresses = ['ozone.om.address', 'ozone.om.http-address', 'hdds.datanode.http-address']
  const services = ['client', 'block.client', 'datanode', 'security.service'].map((name) => `ozone.scm.${name}`)
  const numbers = [
    'ozone.scm.ratis.port',
    'ozone.scm.grpc.port',
    'ozone.om.ratis.port',
    'hdds.container.ipc.port',
    'hdds.container.ratis.ipc.port',
    'hdds.container.ratis.admin.port',
    'hdds.container.ratis.server.port',
    'hdds.container.ratis.datastream.port',
    'hdds.datanode.client.port',
  ]
  const left = [...ports]
  const next = (): number => left.pop() ?? 0
  const values: Readonly<Record<string, string | number>> = {
    'ozone.metadata.dirs': join(dir, 'meta'),
    'hdds.datanode.dir': join(dir, 'data'),
    'ozone.scm.datanode.id.dir': join(dir, 'meta'),
    'ozone.scm.names': '127.0.0.1',
    'ozone.server.default.replication': 1,
    'ozone.scm.container.size': '256MB',
    'ozone.scm.block.size': '64MB',
    'hdds.datanode.volume.min.free.space': '100MB',
    'hdds.scm.safemode.min.datanode': 1,
    'hdds.scm.wait.time.after.safemode.exit': '1s',
    'hdds.heartbeat.interval': '1s',
    'ozone.scm.http-address': `127.0.0.1:${scmHttpPort}`,
    'ozone.s3g.http-address': `127.0.0.1:${s3Port}`,
    'ozone.s3g.webadmin.http-address': `127.0.0.1:${next()}`,
    ...Object.fromEntries(addresses.map((name) => [name, `127.0.0.1:${next()}`])),
    ...Object.fromEntries(
      services.flatMap((name) => {
        const port = next()
        return [
          [`${name}.address`, `127.0.0.1:${port}`],
          [`${name}.port`, port],
          [`${name}.bind.host`, '127.0.0.1'],
        ]
      }),
    ),
    ...Object.fromEntries(numbers.map((name) => [name, next()])),
  }
  const property = ([name, value]: readonly [string, string | number]): string =>
    `<property><name>${name}</name><value>${value}</value></property>`
  return `<configuration>${Object.entries(values).map(property).join('\n')}</configuration>\n`
}

async function isOutOfSafeMode(scmHttpPort: number): Promise<boolean> {
  try {
    const bean = 'Hadoop:service=StorageContainerManager,name=StorageContainerManagerInfo,*'
    const answer = await fetch(`http://127.0.0.1:${scmHttpPort}/jmx?qry=${bean}`)
    return /"InSafeMode"\s*:\s*false/.test(await answer.text())
  } catch {
    return false
  }
}

async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  const deadlineMs = performance.now() + waitMsMax
  while (!(await holds())) {
    if (performance.now() > deadlineMs) throw new Error(`${what} within ${waitMsMax / 1000} s`)
    await new Promise((resolve) => setTimeout(resolve, 500))
  }
}

/** Starts everything, and goes on until it is told to stop. */
async function main(jars: string, dir: string, s3Port: number): Promise<void> {
  const [conf, logs] = [join(dir, 'conf'), join(dir, 'log')]
  for (const made of [conf, logs, join(dir, 'meta'), join(dir, 'data')]) mkdirSync(made, { recursive: true })
  const [scmHttpPort = 0, ...ports] = await freePorts(24)
  writeFileSync(join(conf, 'ozone-site.xml'), configuration(dir, s3Port, scmHttpPort, ports))
  writeFileSync(
    join(conf, 'log4j.properties'),
    'log4j.rootLogger=WARN, out\nlog4j.appender.out=org.apache.log4j.ConsoleAppender\nlog4j.appender.out.layout=org.apache.log4j.SimpleLayout\n',
  )
  const opened = ['java.nio', 'sun.nio.ch', 'java.lang', 'java.util'].flatMap((name) => [
    '--add-opens',
    `java.base/${name}=ALL-UNNAMED`,
  ])
  const flags = ['-Xmx512m', ...opened, `-Dhadoop.log.dir=${logs}`, '-cp', `${conf}:${jars}/*`]
  const scm = 'org.apache.hadoop.hdds.scm.server.StorageContainerManagerStarter'
  const om = 'org.apache.hadoop.ozone.om.OzoneManagerStarter'
  const children: ChildProcess[] = []
  const start = (name: string): void => {
    const out = openSync(join(logs, `${name}.out`), 'a')
    const child = spawn('java', [...flags, name], { cwd: dir, stdio: ['ignore', out, out] })
    child.once('exit', (code) => {
      process.stderr.write(`${name} ended with ${code}\n`)
      process.exit(1)
    })
    children.push(child)
  }
  /** Runs a program to its end. Throws in its words. */
  const run = (...argv: readonly string[]): void => {
    const { status, stderr } = spawnSync('java', [...flags, ...argv], { cwd: dir, encoding: 'utf8', timeout: initMs })
    if (status !== 0) throw new Error(`${argv.join(' ')}: ${stderr.slice(-800)}`)
  }
  run(scm, '--init')
  start(scm)
  // It asks the other manager who it is, and goes on asking until that answers.
  run(om, '--init')
  start(om)
  start('org.apache.hadoop.ozone.HddsDatanodeService')
  // Before that nothing can be written.
  await until('the datanode was to be known', () => isOutOfSafeMode(scmHttpPort))
  start('org.apache.hadoop.ozone.s3.Gateway')
  await new Promise((resolve) => process.once('SIGINT', resolve).once('SIGTERM', resolve))
  for (const child of children) {
    child.removeAllListeners('exit')
    child.kill('SIGTERM')
  }
}

const [jars, dir, s3Port] = process.argv.slice(2)
if (import.meta.main) {
  if (jars === undefined || dir === undefined) {
    process.stderr.write('usage: object-ozone.ts JARS DIR S3-PORT\n')
    process.exit(2)
  }
  await main(jars, dir, Number(s3Port))
}
