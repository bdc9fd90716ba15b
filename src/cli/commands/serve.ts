/** `stead serve`: the daemon. Runs any number of apps, and goes on without anybody watching. */
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { SteadError } from '../../base/index.ts'
import type { AskedDriver } from '../../domain/index.ts'
import type { Command, Input } from '../command.ts'
import { usage } from '../command.ts'
import { type Role, roles } from '../daemon/claim.ts'
import { askedDrivers, type Engine, engines } from '../daemon/context.ts'
import { runRole } from '../daemon/role.ts'
import { entryOf, supervise, unitPath } from '../daemon/supervisor.ts'
import { unitOf } from '../daemon/unit.ts'
import { type ExitCode, exitCodes } from '../exit-codes.ts'
import { checkSpace, daemonHome } from '../home.ts'
import { note, print } from '../terminal.ts'
import { certificateChoice, localAuthorityDir, tlsHelp } from '../way-in-certificates.ts'

const asRoot = process.getuid?.() === 0

export const serveCommand: Command = {
  name: 'serve',
  usage: '',
  summary: 'run as a daemon, for as many apps as deploy brings',
  help: `  --port N             port of the way in (default ${asRoot ? 80 : 8080}; with --tls ${asRoot ? 443 : 8443})
  --tls FROM           serve https, with certificates from: ${tlsHelp}
  --plain-port N       with --tls: port of plain http, which is sent on to https (default ${asRoot ? 80 : 8080})
  --host ADDR          address it listens on (default 0.0.0.0; :: for IPv6 and IPv4)
  --dashboard-port N   port of the dashboard, on 127.0.0.1 (default 8090, or the next that is free)
  --engine haproxy     let HAProxy carry the bytes, where the machine has it: plain http, no pages, see below
  --domain xfs         keep data on XFS instead of btrfs: nearly as many small commits as on the bare disk, and databases are
                       away for a second or two at each checkpoint. For a machine that keeps no data yet
  --install            write the systemd unit instead, and say how to start it
  --print-unit         print the unit

  Control, agent and gateway run as processes of their own. Ending this command, or a crash of any of them,
  stops no app: \`stead down APP\` does that. SIGHUP takes up a new version of Stead without a lost request.
  HAProxy has no TLS, HTTP/2, TCP routes, drawn pages, breakers, sticky routes or latency histograms here; a route
  that asks for one of them is told in the output and not taken.
  Example: stead serve --port 8080`,
  options: {
    port: { type: 'string' },
    host: { type: 'string' },
    'dashboard-port': { type: 'string' },
    tls: { type: 'string' },
    'plain-port': { type: 'string' },
    engine: { type: 'string' },
    domain: { type: 'string' },
    install: { type: 'boolean' },
    'print-unit': { type: 'boolean' },
    role: { type: 'string' },
    fd: { type: 'string' },
  },
  argumentsMax: 0,
  run: serve,
}

async function serve(input: Input): Promise<ExitCode> {
  const tls = input.text('tls')
  const plain = asRoot ? 80 : 8080
  const port = input.number('port', 1, 65_535) ?? (tls === null ? plain : asRoot ? 443 : 8443)
  const plainPort = tls === null ? null : (input.number('plain-port', 1, 65_535) ?? plain)
  if (tls !== null) checkCertificates(tls)
  const host = input.text('host') ?? '0.0.0.0'
  const dashboardPort = input.number('dashboard-port', 0, 65_535)
  const engine = engineNamed(input.text('engine') ?? 'own', tls)
  const domain = domainNamed(input.text('domain'))
  const role = input.text('role')
  if (role !== null) {
    const fd = input.number('fd', 3, 3)
    await runRole(roleNamed(role), { host, port, tls, plainPort, dashboardPort, engine, domain, fd })
    return exitCodes.ok
  }
  const secure = tls === null ? [] : ['--tls', tls, '--plain-port', String(plainPort)]
  const carried = engine === 'own' ? [] : ['--engine', engine]
  const kept = domain === null ? [] : ['--domain', domain]
  const looked = dashboardPort === null ? [] : ['--dashboard-port', String(dashboardPort)]
  const more = [...secure, ...carried, ...kept, ...looked]
  const args = ['serve', '--port', String(port), '--host', host, ...more]
  if (input.flag('install') || input.flag('print-unit')) return install(args, input.flag('install'))
  checkSpace(daemonHome())
  note(`stead serves on ${host}, port ${port}. Bring an app with \`stead deploy DIR\`; \`stead dashboard\` shows it.`)
  if (tls === 'local') note(`  trust ${join(localAuthorityDir(daemonHome()), 'ca.pem')} where you look at it`)
  const end = await supervise({ host, port, more, holdsDoor: engine === 'own', onNotice: note })
  if (end === 'renewed') return succeed(args)
  if (end === 'replaced') note('another `stead serve` has taken over; this one ends, and the apps go on.')
  else
    note('stead serve has ended. The apps go on; `stead serve` takes them up again, `stead down APP` then stops one.')
  return exitCodes.ok
}

function engineNamed(word: string, tls: string | null): Engine {
  const found = engines.find((engine) => engine === word)
  if (found === undefined) throw usage(`there is no engine ${word}`, `The engines are: ${engines.join(', ')}.`)
  if (found === 'haproxy' && tls !== null)
    throw usage(
      '--engine haproxy cannot serve TLS',
      'Leave out --tls and let TLS end before it, or leave out --engine.',
    )
  return found
}

function domainNamed(word: string | null): AskedDriver | null {
  const found = askedDrivers.find((driver) => driver === word)
  if (word !== null && found === undefined)
    throw usage(`data is not kept with ${word}`, `It can be kept with: ${askedDrivers.join(', ')}.`)
  return found ?? null
}

/** Before anything starts: what could only fail over and over. Throws `cli.usage`, `cli.no-certificates`. */
function checkCertificates(tls: string): void {
  const choice = certificateChoice(tls, daemonHome())
  if (choice.kind !== 'files' || existsSync(choice.dir)) return
  throw new SteadError({
    code: 'cli.no-certificates',
    message: `there is no directory ${choice.dir} with certificates`,
    hint: 'Name the directory that holds HOST.pem and HOST.key files, as in --tls files:/etc/stead/certificates.',
  })
}

function roleNamed(word: string): Role {
  const found = roles.find((role) => role === word)
  if (found === undefined) throw usage(`there is no role ${word}`, 'It is used by `stead serve` itself.')
  return found
}

/**
 * Becomes the new version, under the same process id, so that whoever started this process need not know. Where a process
 * cannot do that, it ends, and whoever started it starts it again.
 */
function succeed(args: readonly string[]): ExitCode {
  const { file, argv } = entryOf(args)
  if (process.execve !== undefined) process.execve(file, [...argv], { ...process.env })
  return exitCodes.ok
}

function install(args: readonly string[], write: boolean): ExitCode {
  const { argv } = entryOf(args)
  const environment = Object.fromEntries(
    ['STEAD_STATE', 'STEAD_RUN', 'STEAD_ACME_URL'].flatMap((name) => {
      const value = process.env[name]
      return value === undefined ? [] : [[name, value]]
    }),
  )
  const unit = unitOf(argv, environment)
  if (!write) {
    print(unit)
    return exitCodes.ok
  }
  if (!existsSync('/run/systemd/system') || !asRoot) {
    throw new SteadError({
      code: 'cli.no-systemd',
      message: asRoot ? 'systemd does not run on this machine' : 'only root may install a systemd unit',
      hint: 'Start `stead serve` by what runs services here, or see the unit with `stead serve --print-unit`.',
    })
  }
  writeFileSync(unitPath, unit)
  print(unitPath)
  note('Start it now and at every boot: systemctl daemon-reload && systemctl enable --now stead')
  return exitCodes.ok
}
