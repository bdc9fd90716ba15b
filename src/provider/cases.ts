/**
 * The cases of the suite for providers: what every provider promises, each as a piece of work on a test host.
 */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { isSteadError, sleep, systemClock } from '../base/index.ts'
import type { ProviderCase, TestClient, TestResource, World } from './conformance.ts'
import type { Binding, ProviderContext } from './provider.ts'

async function connect({ subject }: World, binding: Binding): Promise<TestClient> {
  assert.ok(subject.connect !== null, 'nothing is dialled')
  return await subject.connect(binding)
}

/** Prepares a started resource, lets a consumer in and opens a client for it. */
async function enter(world: World, resource: TestResource, grant = resource.grantFor('web')): Promise<TestClient> {
  await world.provider.prepare(resource.context)
  await world.provider.grant(resource.context, grant)
  return await connect(world, await resource.bind(grant))
}

/** Writes 0, 1, 2 ... until told to stop or refused; tells how many were acknowledged. */
function keepWriting(client: TestClient): { acknowledged(): number; stop(): Promise<void> } {
  const state = { acknowledged: 0, stopped: false }
  const write = async (): Promise<void> => {
    for (; !state.stopped; state.acknowledged++) await client.write(state.acknowledged)
  }
  const done = write().catch(() => undefined)
  return {
    acknowledged: () => state.acknowledged,
    async stop() {
      state.stopped = true
      await done
    },
  }
}

async function waitFor(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadlineMs = systemClock.monotonicMs() + 30_000
  while (!(await condition())) {
    assert.ok(systemClock.monotonicMs() < deadlineMs, `waited 30 s in vain: ${what}`)
    await sleep(systemClock, 10)
  }
}

/** A copy as a checkpoint takes it: at rest as the provider asks, at one moment. */
async function checkpoint({ provider, host }: World, resource: TestResource, to: string): Promise<string> {
  const path = join(host.dir, to)
  if (provider.capabilities.quiesce === 'stop') await resource.stop()
  await using _atRest = await provider.quiesce(resource.context)
  await using _frozen = await resource.process().freeze()
  await host.copy(resource.context.dataDir, path)
  return path
}

/** Goes on after a checkpoint for which the server had to be stopped. */
async function goOn({ provider }: World, resource: TestResource): Promise<void> {
  if (provider.capabilities.quiesce === 'stop') await resource.start()
}

const numbersTo = (count: number): readonly number[] => Array.from({ length: count }, (_, index) => index)

/** The cases by their keys. */
export const cases: Record<ProviderCase, { readonly title: string; readonly body: (world: World) => Promise<void> }> = {
  steps: {
    title: 'every step can be done twice, and a binding depends on nothing but what it is given',
    async body({ provider, ...world }) {
      await using resource = await world.resource()
      const { context } = resource
      const grant = resource.grantFor('web')
      const twice = async (step: () => Promise<unknown>): Promise<void> => {
        await step()
        await step()
      }
      await twice(() => provider.provision(context))
      await resource.start()
      await twice(() => provider.ready(context, 10_000))
      await twice(() => provider.prepare(context))
      await twice(() => provider.grant(context, grant))
      assert.deepEqual(await resource.bind(grant), await resource.bind(grant))
      await twice(() => provider.metrics(context))
      await twice(async () => await (await provider.quiesce(context))[Symbol.asyncDispose]())
      await twice(() => provider.revoke(context, grant.user))
      await resource.stop()
      await twice(() => provider.recover(context))
    },
  },
  'provision-again': {
    title: 'provisioning again changes nothing, whether the server runs or not',
    async body(world) {
      await using resource = await world.resource()
      await resource.start()
      await using client = await enter(world, resource)
      await client.write(1)
      await world.provider.provision(resource.context)
      await client.write(2)
      await resource.stop()
      await resource.start()
      await using again = await enter(world, resource)
      assert.deepEqual(await again.items(), [1, 2])
    },
  },
  'provision-killed': {
    title: 'a provisioning that is killed at any point can be done again',
    async body(world) {
      await using resource = await world.resource()
      for (const delayMs of [5, 40, 120, 250, 400]) {
        const run: ProviderContext['run'] = async (program) => {
          const started = world.host.start(program)
          using _timer = systemClock.after(delayMs, () => void started.kill())
          return await started.ended
        }
        await world.provider.provision({ ...resource.context, run }).catch(() => undefined)
      }
      await resource.start()
      await using client = await enter(world, resource)
      await client.write(1)
      assert.deepEqual(await client.items(), [1])
    },
  },
  'not-ready': {
    title: 'waiting for a server that does not run ends, and says whose it is',
    async body(world) {
      await using resource = await world.resource()
      await assert.rejects(world.provider.ready(resource.context, 200), (error) => {
        assert.ok(isSteadError(error))
        assert.match(error.message, /\bdb\b/)
        return true
      })
    },
  },
  consumer: {
    title: 'a consumer gets in with nothing but its binding',
    async body(world) {
      await using resource = await world.resource()
      await resource.start()
      await using client = await enter(world, resource)
      await using other = await enter(world, resource, resource.grantFor('mailer'))
      await client.write(1)
      await other.write(2)
      assert.deepEqual(await client.items(), [1, 2])
    },
  },
  isolation: {
    title: 'credentials of one resource are refused by another',
    async body(world) {
      await using one = await world.resource()
      await using two = await world.resource()
      await one.start()
      await two.start()
      const grant = one.grantFor('web')
      await using _client = await enter(world, one, grant)
      await using _other = await enter(world, two)
      await assert.rejects(async () => await connect(world, await two.bind(grant)))
      await assert.rejects(async () => await connect(world, await two.bind({ ...two.grantFor('web'), password: 'no' })))
    },
  },
  'new-password': {
    title: 'a second grant replaces the password',
    async body(world) {
      await using resource = await world.resource()
      await resource.start()
      const [old, fresh] = [resource.grantFor('web'), resource.grantFor('web')]
      await using _client = await enter(world, resource, old)
      await using _again = await enter(world, resource, fresh)
      await assert.rejects(async () => await connect(world, await resource.bind(old)))
    },
  },
  'two-logins': {
    title: 'two logins of one consumer hold side by side; taking one out is not felt by the other',
    async body(world) {
      await using resource = await world.resource()
      await resource.start()
      const [old, fresh] = [resource.grantFor('web'), resource.grantFor('web')].map((grant, index) =>
        index === 0 ? grant : { ...grant, user: `${grant.user}_b` },
      )
      assert.ok(old !== undefined && fresh !== undefined)
      await using before = await enter(world, resource, old)
      await before.write(-1)
      await using after = await enter(world, resource, fresh)
      await before.write(-2)
      const writing = keepWriting(after)
      await waitFor('20 items to be written', () => writing.acknowledged() >= 20)
      await world.provider.revoke(resource.context, old.user)
      const revokedAt = writing.acknowledged()
      await waitFor('20 items after it', () => writing.acknowledged() >= revokedAt + 20)
      await writing.stop()
      await assert.rejects(before.write(-3))
      await assert.rejects(async () => await connect(world, await resource.bind(old)))
      assert.deepEqual(await after.items(), [-2, -1, ...numbersTo(writing.acknowledged())])
      // And back again: the names alternate.
      await using again = await enter(world, resource, old)
      assert.equal((await again.items()).length, writing.acknowledged() + 2)
    },
  },
  revoke: {
    title: 'revoking ends the connections and refuses new ones; the data stays',
    async body(world) {
      await using resource = await world.resource()
      await resource.start()
      const grant = resource.grantFor('web')
      await using client = await enter(world, resource, grant)
      await client.write(1)
      await world.provider.revoke(resource.context, grant.user)
      await assert.rejects(client.write(2))
      await assert.rejects(async () => await connect(world, await resource.bind(grant)))
      await world.provider.revoke(resource.context, grant.user)
      await using again = await enter(world, resource, grant)
      assert.deepEqual(await again.items(), [1])
    },
  },
  crash: {
    title: 'what was acknowledged is there after the server was killed',
    async body(world) {
      await using resource = await world.resource()
      await resource.start()
      await using client = await enter(world, resource)
      const writing = keepWriting(client)
      await waitFor('20 items to be written', () => writing.acknowledged() >= 20)
      await resource.process().kill()
      await writing.stop()
      await world.provider.recover(resource.context)
      await resource.start()
      await using again = await enter(world, resource)
      const items = await again.items()
      assert.ok(items.length >= writing.acknowledged())
      assert.deepEqual(items, numbersTo(items.length))
    },
  },
  checkpoint: {
    title: 'a copy taken under load, put back and recovered, holds all that was acknowledged before it',
    async body(world) {
      await using resource = await world.resource()
      await resource.start()
      await using client = await enter(world, resource)
      const writing = keepWriting(client)
      await waitFor('20 items to be written', () => writing.acknowledged() >= 20)
      const before = writing.acknowledged()
      const copy = await checkpoint(world, resource, 'under-load')
      await waitFor('items after the copy', () => writing.acknowledged() > before + 20)
      await resource.process().kill()
      await writing.stop()
      await world.host.copy(copy, resource.context.dataDir)
      await world.provider.recover(resource.context)
      await resource.start()
      await using again = await enter(world, resource)
      const items = await again.items()
      assert.ok(items.length >= before && items.length < writing.acknowledged(), `${items.length} items`)
      assert.deepEqual(items, numbersTo(items.length))
    },
  },
  diff: {
    title: 'a diff of two states counts what changed between them',
    async body(world) {
      await using resource = await world.resource()
      await resource.start()
      await using client = await enter(world, resource)
      await client.write(1)
      const before = await checkpoint(world, resource, 'diff-before')
      for (const item of [2, 3, 4]) await client.write(item)
      const after = await checkpoint(world, resource, 'diff-after')
      const compare = async (from: string, to: string): Promise<readonly number[]> => {
        const { items, exact } = await world.provider.diff(resource.context, from, to)
        assert.equal(exact, world.provider.capabilities.diff === 'exact')
        const sum = (pick: (item: (typeof items)[number]) => number): number =>
          items.reduce((all, item) => all + pick(item), 0)
        return [sum((item) => item.added), sum((item) => item.removed), sum((item) => item.changed)]
      }
      assert.deepEqual(await compare(before, after), [3, 0, 0])
      assert.deepEqual(await compare(after, before), [0, 3, 0])
    },
  },
  pending: {
    title: 'what is declared is due before it is prepared and not after; being asked changes nothing',
    async body(world) {
      const { provider } = world
      if (provider.pending === undefined) return
      await using resource = await world.resource()
      await resource.start()
      const before = await provider.pending(resource.context)
      assert.deepEqual(await provider.pending(resource.context), before)
      assert.equal(before.migrates === 'none' && !before.contracts, before.statements.length === 0)
      await using _client = await enter(world, resource)
      assert.deepEqual(await provider.pending(resource.context), { migrates: 'none', contracts: false, statements: [] })
    },
  },
  rehearse: {
    title: 'what is due is tried on a copy, which is then as the live data would be; the live data is not touched',
    async body(world) {
      const { provider } = world
      if (provider.pending === undefined || provider.rehearse === undefined) return
      await using resource = await world.resource()
      await resource.start()
      const before = await provider.pending(resource.context)
      const dataDir = await checkpoint(world, resource, 'rehearsed')
      const context = { ...resource.context, dataDir }
      const trial = await provider.rehearse(context, 60_000)
      assert.deepEqual(trial.refusals, [])
      assert.equal(trial.statements.length, before.statements.length)
      assert.deepEqual(await provider.rehearse(context, 60_000), { statements: [], refusals: [] })
      await goOn(world, resource)
      assert.deepEqual(await provider.pending(resource.context), before)
    },
  },
  carry: {
    title:
      'after a return the earlier data serves; what outlives it is carried in, again and with nothing to carry too',
    async body(world) {
      const { provider, host } = world
      if (provider.abandon === undefined || provider.carry === undefined) return
      await using resource = await world.resource()
      await resource.start()
      const grant = resource.grantFor('web')
      await using client = await enter(world, resource, grant)
      await client.write(1)
      const earlier = await checkpoint(world, resource, 'returned-to')
      await goOn(world, resource)
      await using later = await enter(world, resource, grant)
      await later.write(2)
      const dir = join(host.dir, 'carried')
      await provider.abandon(resource.context, dir)
      await provider.abandon(resource.context, dir)
      await resource.process().kill()
      await host.copy(earlier, resource.context.dataDir)
      await provider.recover(resource.context)
      await resource.start()
      await provider.carry(resource.context, dir, 2)
      assert.deepEqual(await provider.carry(resource.context, dir, 2), [])
      await provider.carry(resource.context, join(host.dir, 'nothing-carried'), 3)
      await using again = await enter(world, resource, grant)
      assert.deepEqual(await again.items(), [1])
      await again.write(2)
    },
  },
  replay: {
    title: 'what only a copy has is brought into the live data; what is there already stays',
    async body(world) {
      const { provider } = world
      if (provider.replay === undefined) return
      await using resource = await world.resource()
      await resource.start()
      const grant = resource.grantFor('web')
      await using client = await enter(world, resource, grant)
      await client.write(1)
      const earlier = await checkpoint(world, resource, 'replayed-into')
      await goOn(world, resource)
      await using later = await enter(world, resource, grant)
      for (const item of [2, 3]) await later.write(item)
      const from = await checkpoint(world, resource, 'replayed-from')
      const { items } = await provider.diff(resource.context, earlier, from)
      const bring = async (): Promise<number> => {
        let brought = 0
        for (const { name: table } of items)
          brought += (await provider.replay?.(resource.context, from, { table, where: null })) ?? 0
        return brought
      }
      await resource.stop()
      await world.host.copy(earlier, resource.context.dataDir)
      await provider.recover(resource.context)
      await resource.start()
      await using again = await enter(world, resource, grant)
      assert.equal(await bring(), 2)
      assert.equal(await bring(), 0)
      assert.deepEqual(await again.items(), [1, 2, 3])
      await assert.rejects(provider.replay(resource.context, from, { table: 'no such', where: null }), isSteadError)
    },
  },
  metrics: {
    title: 'metrics are well formed and tell the truth about connections',
    async body(world) {
      await using resource = await world.resource()
      await resource.start()
      const grant = resource.grantFor('web')
      await using _one = await enter(world, resource, grant)
      await using _two = await connect(world, await resource.bind(grant))
      const metrics = await world.provider.metrics(resource.context)
      for (const metric of metrics) {
        assert.match(metric.name, metric.kind === 'counter' ? /^[a-z][a-z0-9_]*_total$/ : /^[a-z][a-z0-9_]*$/)
        assert.ok(Number.isFinite(metric.value), metric.name)
      }
      const { connectionsMetric } = world.subject
      if (connectionsMetric === null) return
      assert.equal(metrics.find((metric) => metric.name === connectionsMetric)?.value, 2)
    },
  },
}
