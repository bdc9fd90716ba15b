/** `stead doctor`: what this machine can do, driver by driver, what is weaker than it could be, and how to mend it. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { coreRefusal } from '../../agent/index.ts'
import { findTool } from '../../backup/index.ts'
import { isSteadError } from '../../base/index.ts'
import type { Command } from '../command.ts'
import { type ExitCode, exitCodes } from '../exit-codes.ts'
import { homeOf, prepareHome } from '../home.ts'
import { lookAtMachine, type Machine } from '../machine.ts'
import { paint, print, table } from '../terminal.ts'

export const doctorCommand: Command = {
  name: 'doctor',
  usage: '',
  summary: 'what this machine can do',
  help: `  --json        as JSON
  Exit code 0: the strongest of everything; 4: something is weaker, with how to mend it.
  Example: stead doctor`,
  options: {},
  argumentsMax: 0,
  run: ({ json }) => doctor(json),
}

/** What gives parts a kernel of their own here, and what is to be known of it: nothing that others need is weaker for it. */
function guestsOf({ guests, sandbox }: Machine): { readonly driver: string | null; readonly notes: readonly string[] } {
  try {
    const { name, capabilities } = guests()
    const own = capabilities.weaker.filter((line) => !sandbox.capabilities.weaker.includes(line))
    return { driver: name, notes: own }
  } catch (error) {
    if (!isSteadError(error)) throw error
    return { driver: null, notes: [`${error.message} ${error.hint ?? ''}`.trim()] }
  }
}

async function doctor(json: boolean): Promise<ExitCode> {
  // Looks with an app directory of its own, so that it says what a new app would get, and leaves nothing.
  const scratch = mkdtempSync(join(tmpdir(), 'stead-doctor-'))
  const home = homeOf(scratch)
  try {
    prepareHome(home)
    const machine = await lookAtMachine(home)
    const { sandbox, network, domain } = machine
    const backups = await findTool(null).catch((error: unknown) => {
      if (isSteadError(error)) return error
      throw error
    })
    const guests = guestsOf(machine)
    const cores = coreRefusal()
    const noBackups = typeof backups === 'string' ? [] : [`${backups.message} ${backups.hint ?? ''}`.trim()]
    const weaker = [...machine.weaker, ...noBackups]
    const report = {
      node: process.version,
      platform: `${process.platform} ${process.arch}`,
      sandbox: { driver: sandbox.name, ...sandbox.capabilities },
      network: { driver: network.name, ...network.capabilities },
      domain: { driver: domain.name, ...domain.capabilities },
      resources: [...machine.providers.keys()],
      guests,
      cores: cores === null,
      backups: typeof backups === 'string' ? backups : null,
      weaker,
    }
    await network[Symbol.asyncDispose]()
    if (json) print(JSON.stringify(report))
    else {
      const line = (kind: string, driver: string, capabilities: Readonly<Record<string, unknown>>): string[] => {
        const facts = Object.entries(capabilities).filter(([name]) => name !== 'weaker')
        return [kind, paint('bold', driver), facts.map(([name, value]) => `${name} ${String(value)}`).join(', ')]
      }
      print(
        table([
          ['node', paint('bold', report.node), report.platform],
          line('sandbox', sandbox.name, { ...sandbox.capabilities }),
          line('network', network.name, { ...network.capabilities }),
          line('data', domain.name, { ...domain.capabilities }),
          ['own kernel', paint('bold', guests.driver ?? 'none'), guests.notes.join('; ')],
          ['core files', paint('bold', cores === null ? 'kept' : 'none'), cores?.reason ?? 'of parts that ask for one'],
          ['backups', report.backups ?? 'none', ''],
          ['resources', report.resources.join(', '), ''],
        ]),
      )
      print('')
      for (const weak of weaker) print(`${paint('yellow', 'weaker')} ${weak}`)
      if (weaker.length === 0) print(paint('green', 'Nothing is weaker than it could be.'))
    }
    return weaker.length === 0 ? exitCodes.ok : exitCodes.degraded
  } finally {
    rmSync(home.appDir, { recursive: true, force: true })
    rmSync(home.runDir, { recursive: true, force: true })
    rmSync(scratch, { recursive: true, force: true })
  }
}
