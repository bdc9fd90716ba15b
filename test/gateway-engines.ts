/** The engines of the way in, for tests that hold for each of them. */
import { mkdtempSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { createGateway, HaproxyGateway, haproxyProgram } from '../src/gateway/index.ts'
import type { GatewayEngine, GatewayLimits } from '../src/gateway/index.ts'
import type { Endpoint } from '../src/network/index.ts'
import type { Route } from '../src/protocol/index.ts'
import { dial } from './gateway-rig.ts'
import { needsFile } from './needs.ts'

/** An instance's place is played by its port, on this machine. */
function dialAll(endpoint: Endpoint): Socket {
  return endpoint.kind === 'instance' ? connect(endpoint.port, '127.0.0.1') : dial(endpoint)
}

export interface EngineUnderTest {
  readonly name: string
  /** False, or why it cannot be tested here. */
  readonly skip: string | false
  make(t: TestContext, limits: Partial<GatewayLimits>, onDrained: (instance: string) => void): GatewayEngine
}

export const engines: readonly EngineUnderTest[] = [
  {
    name: 'own',
    skip: false,
    make: (_t, limits, onDrained) => createGateway({ connect: dialAll, limits, onDrained }),
  },
  {
    name: 'haproxy',
    skip: needsFile(haproxyProgram, 'node scripts/setup.mjs --servers'),
    make: (t, limits, onDrained) => {
      const directory = mkdtempSync(join(tmpdir(), 'stead-ha-'))
      t.after(() => rmSync(directory, { recursive: true, force: true }))
      return new HaproxyGateway({ connect: dialAll, directory, limits, onDrained })
    },
  },
]

export interface EngineRig {
  readonly gateway: GatewayEngine
  readonly port: number
  readonly drained: string[]
}

/** An engine with these routes, closed with the test. */
export async function engineRig(
  t: TestContext,
  engine: EngineUnderTest,
  routes: readonly Route[],
  limits: Partial<GatewayLimits> = {},
): Promise<EngineRig> {
  const drained: string[] = []
  const gateway = engine.make(t, { closeMs: 200, checkMs: 50, ...limits }, (instance) => drained.push(instance))
  t.after(() => gateway.close())
  const { port } = await gateway.listen(0)
  await gateway.apply({ revision: 1, routes })
  return { gateway, port, drained }
}
