/**
 * The logins of consumers are changed over on a real server under constant load, as the platform does it: the new login is
 * let in, new instances come up with it, the old ones end, the old login is taken out. No query fails.
 */
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { Client } from 'pg'
import { randomPassword, systemRandom } from '../base/index.ts'
import type { Grant } from '../provider/index.ts'
import { makeTestPostgres, type TestPostgres } from './conformance.ts'

const linux = process.platform === 'linux' ? false : 'needs Linux, where tests have a PostgreSQL'

/** An instance of a consumer: asks all the time over its own connections, until it is told to end. */
class Instance {
  readonly failures: unknown[] = []
  queries = 0
  readonly #clients: readonly Client[]
  readonly #done: Promise<unknown>
  #ending = false

  private constructor(clients: readonly Client[]) {
    this.#clients = clients
    this.#done = Promise.all(clients.map((client) => this.#ask(client)))
  }

  static async start(postgres: TestPostgres, grant: Grant): Promise<Instance> {
    const { env } = await postgres.resource.bind(grant)
    const clients = Array.from({ length: 3 }, () => new Client({ connectionString: env['DATABASE_URL'] }))
    for (const client of clients) {
      client.on('error', () => undefined)
      await client.connect()
    }
    return new Instance(clients)
  }

  async #ask(client: Client): Promise<void> {
    while (!this.#ending) {
      try {
        await client.query('insert into visits (who) values (current_user)')
        await client.query('select count(*) from visits')
        this.queries += 2
      } catch (error) {
        this.failures.push(error)
        return
      }
    }
  }

  /** Lets what is under way end, then closes. */
  async end(): Promise<void> {
    this.#ending = true
    await this.#done
    for (const client of this.#clients) await client.end()
  }

  async served(count: number): Promise<void> {
    const from = this.queries
    while (this.queries < from + count && this.failures.length === 0)
      await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

suite('logins that alternate', { skip: linux }, () => {
  for (const ownsSchema of [false, true]) {
    const how = ownsSchema ? 'an app that keeps its schema itself' : 'an app with migrations'
    test(`no query fails while they are changed over under load: ${how}`, async () => {
      await using postgres = await makeTestPostgres({ ownsSchema })
      const table = 'create table visits (id int generated always as identity primary key, who text);\n'
      if (!ownsSchema) await postgres.migrations({ '0001_visits.sql': table })
      const { provider, resource } = postgres
      await resource.start()
      await provider.prepare(resource.context)
      const grantOf = (version: number): Grant => {
        return { consumer: 'web', user: version % 2 === 1 ? 'web' : 'web_b', password: randomPassword(systemRandom) }
      }
      let grant = grantOf(1)
      await provider.grant(resource.context, grant)
      if (ownsSchema) {
        const { env } = await resource.bind(grant)
        const maker = new Client({ connectionString: env['DATABASE_URL'] })
        await maker.connect()
        await maker.query(table)
        await maker.end()
      }
      let running = await Instance.start(postgres, grant)
      for (let version = 2; version <= 3; version += 1) {
        const old = { grant, running }
        grant = grantOf(version)
        // The platform lets everybody in again each time, so the old login gets its password again too.
        await provider.grant(resource.context, old.grant)
        await provider.grant(resource.context, grant)
        running = await Instance.start(postgres, grant)
        await running.served(20)
        await old.running.end()
        await provider.revoke(resource.context, old.grant.user)
        await running.served(20)
        assert.deepEqual([old.running.failures, running.failures], [[], []])
        assert.ok(old.running.queries > 0)
        await assert.rejects(Instance.start(postgres, old.grant))
        // What the old login made belongs to the app, and the new one can change it.
        if (ownsSchema) {
          const { env } = await resource.bind(grant)
          const changer = new Client({ connectionString: env['DATABASE_URL'] })
          await changer.connect()
          await changer.query(`alter table visits add column v${version} int`)
          await changer.end()
        }
      }
      await running.end()
      assert.deepEqual(running.failures, [])
    })
  }
})
