/** What the agent saw of the machine, for control to tell. A file beside the sockets: it is as old as the agent. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Home } from '../home.ts'
import type { MachineDescription } from '../machine.ts'

const descriptionFile = 'machine.json'

/** The agent looks at the machine; control tells what it saw. */
export function writeDescription(home: Home, description: MachineDescription): void {
  writeFileSync(join(home.runDir, descriptionFile), JSON.stringify(description), { mode: 0o600 })
}

export function readDescription(home: Home): MachineDescription {
  try {
    return JSON.parse(readFileSync(join(home.runDir, descriptionFile), 'utf8')) as MachineDescription
  } catch {
    const why = 'the agent has not looked at this machine yet'
    return { drivers: { sandbox: 'unknown', network: 'unknown', domain: 'unknown' }, weaker: [why] }
  }
}
