/** The agent of this machine: startable by itself. */
import { type Agent, startAgent } from '../../agent/index.ts'
import { systemClock as clock, systemRandom as random } from '../../base/index.ts'
import { dataBytesDefault } from '../../model/index.ts'
import { keyFile } from '../../secrets/index.ts'
import type { Home } from '../home.ts'
import { layerStore } from '../images.ts'
import { type Machine, programOf } from '../machine.ts'
import { controlAddress, localNode } from './local.ts'

/** Keeps the plan of this node running; finds what an earlier agent has left. */
export function startAgentRole(home: Home, machine: Machine, onNotice: (text: string) => void): Promise<Agent> {
  return startAgent(
    {
      name: localNode,
      stateDir: home.agentDir,
      runDir: home.runDir,
      clock,
      random,
      ...machine,
      domainBytes: dataBytesDefault,
      openBundle: (digest) => machine.bundles.open(digest),
      importBundle: (bytes) => machine.bundles.import(bytes),
      layers: layerStore(),
      program: (bundle, run) => programOf(machine, bundle, run),
      advertise: null,
      nodeFile: home.nodeFile,
      keys: keyFile(home.nodeKeyPath),
      onNotice,
    },
    controlAddress(home),
  )
}
