/**
 * The provider of a `postgres` that somebody else runs: same type, same bindings, same migrations; no server of ours. What
 * it reaches is the URL of an operator's secret.
 *
 * Invariants: nothing is done there that the given role may not do, and what that rules out is said by name; consumers have
 * roles of their own, never the given one; what only the keeper of the data can do (checkpoints, what differs between two)
 * is refused, never imitated.
 */
import { isSteadError, messageOf, SteadError, sleep } from '../base/index.ts'
import type { Json, Random } from '../base/index.ts'
import type { Grant, Provider, ProviderContext } from '../provider/index.ts'
import { isEnd, mayPass, refusalOf, withSession } from './drivers/connection.ts'
import type { Login, ServerAddress, Session, SessionLimits } from './drivers/connection.ts'
import { readMigrationFiles } from './drivers/migration-files.ts'
import { judgeHosted, readSettings } from './durability.ts'
import { pendingOf, planMigrations, schemaName } from './migrations.ts'
import { namesOf, passwordVerifier, quoteName, quoteText } from './names.ts'
import type { MigrationLimits } from './prepare.ts'
import { defaultPort } from './programs.ts'
import { ensureRecord, readRecord, takeTurn } from './record.ts'
import { nobodyLooks, runMigrations } from './run.ts'

/** What an app file says of a database that is hosted elsewhere. */
export interface HostedConfig {
  /** The secret with the URL. */
  readonly hosted: string
  readonly database: string
  readonly tls: 'required' | 'off'
}

/** Whether a config is of a database that is hosted elsewhere. */
export function isHosted(config: Json): boolean {
  return typeof config === 'object' && config !== null && 'hosted' in config
}

interface Hosted {
  readonly name: string
  readonly address: ServerAddress
  readonly login: Login
}

/** A provider with all that a release asks of one. */
export type ReleasingProvider = Provider &
  Required<
    Pick<
      Provider,
      | 'durability'
      | 'pending'
      | 'rehearse'
      | 'abandon'
      | 'carry'
      | 'position'
      | 'replay'
      | 'mark'
      | 'restoreTo'
      | 'log'
      | 'layOutLog'
      | 'verify'
    >
  >

/** The own provider for what is run here, the hosted one for the rest, behind one type. */
export function withHosted(own: ReleasingProvider, hosted: ReleasingProvider): ReleasingProvider {
  const of = ({ config }: { readonly config: Json }): ReleasingProvider => (isHosted(config) ? hosted : own)
  return {
    type: own.type,
    port: own.port,
    capabilities: own.capabilities,
    provision: (context) => of(context).provision(context),
    endpoint: (context) => of(context).endpoint?.(context) ?? null,
    ready: (context, timeoutMs) => of(context).ready(context, timeoutMs),
    durability: (context) => of(context).durability(context),
    prepare: (context, phase) => of(context).prepare(context, phase),
    pending: (context) => of(context).pending(context),
    rehearse: (context, lockMsMax) => of(context).rehearse(context, lockMsMax),
    grant: (context, grant) => of(context).grant(context, grant),
    revoke: (context, user) => of(context).revoke(context, user),
    bind: (resource, grant, target) => of(resource).bind(resource, grant, target),
    quiesce: (context) => of(context).quiesce(context),
    recover: (context) => of(context).recover(context),
    diff: (context, before, after) => of(context).diff(context, before, after),
    abandon: (context, dir) => of(context).abandon(context, dir),
    carry: (context, dir, generation) => of(context).carry(context, dir, generation),
    position: (context) => of(context).position(context),
    replay: (context, from, order) => of(context).replay(context, from, order),
    mark: (context, name) => of(context).mark(context, name),
    restoreTo: (context, from, target) => of(context).restoreTo(context, from, target),
    log: (context) => of(context).log(context),
    layOutLog: (context) => of(context).layOutLog(context),
    verify: (context, probe) => of(context).verify(context, probe),
    metrics: (context) => of(context).metrics(context),
  }
}

/** Makes the provider for databases that are hosted elsewhere. */
export function hostedPostgresProvider(limits: MigrationLimits): ReleasingProvider {
  return {
    type: 'postgres',
    port: defaultPort,
    capabilities: { quiesce: 'none', diff: 'refused' },

    provision(context) {
      // Throws what is wrong with the URL, before anything is tried.
      hostedOf(context)
      return Promise.resolve(null)
    },

    endpoint(context) {
      const { socketDir: host, port } = hostedOf(context).address
      return { host, port }
    },

    async ready(context, timeoutMs) {
      const deadlineMs = context.clock.monotonicMs() + timeoutMs
      for (let pauseMs = 100; ; pauseMs = Math.min(pauseMs * 2, 2000)) {
        const failure = await inSession(hostedOf(context), (session) => session.query('select 1')).then(
          () => null,
          (error: unknown) => error,
        )
        if (failure === null) return
        const inVain = isSteadError(failure) && failure.retry === 'never'
        if (inVain || context.clock.monotonicMs() + pauseMs >= deadlineMs) throw failure
        await sleep(context.clock, pauseMs)
      }
    },

    async prepare(context, phase) {
      const files = context.filesDir === null ? [] : await readMigrationFiles(context.filesDir)
      if (files.length === 0) return { schema: null }
      const schema = await inSession(
        hostedOf(context),
        async (session) => {
          await takeTurn(session, context.name)
          await ensureRecord(session)
          const run = { record: session, session, owner: null, onlooker: nobodyLooks }
          await runMigrations(run, planMigrations(files, await readRecord(session), phase))
          return schemaName(files, await readRecord(session))
        },
        limits,
      )
      return { schema }
    },

    async pending(context) {
      const files = context.filesDir === null ? [] : await readMigrationFiles(context.filesDir)
      return pendingOf(files, await inSession(hostedOf(context), readRecord))
    },

    // There is no copy to try it on; that it is in no checkpoint is said where the app is declared.
    rehearse: () => Promise.resolve({ statements: [], refusals: [] }),
    abandon: () => Promise.resolve(),
    async durability(context) {
      return judgeHosted(context.name, await inSession(hostedOf(context), readSettings))
    },

    carry: ({ name }) => Promise.resolve([`database ${name} is hosted elsewhere and has not gone back`]),
    position: () =>
      Promise.resolve({ position: 'hosted elsewhere: it does not go back', countedSinceMs: 0, counts: [] }),
    replay: (context) => Promise.reject(notOurs(context.name, 'filled from a copy')),
    mark: () => Promise.resolve('hosted elsewhere: it does not go back'),
    restoreTo: (context) => Promise.reject(notOurs(context.name, 'brought to a moment of its log')),
    layOutLog: (context) => Promise.reject(notOurs(context.name, 'carried elsewhere')),
    log: () => Promise.resolve({ sinceMs: null, bytes: 0, waiting: 0, trouble: null }),
    verify: (context) => Promise.reject(notOurs(context.name, 'copied and verified')),

    async grant(context, grant) {
      const hosted = hostedOf(context)
      await inSession(hosted, (session) => letIn(session, hosted, context, grant))
    },

    async revoke(context, user) {
      const name = roleOf(context.app, user)
      const role = quoteName(name)
      await inSession(hostedOf(context), async (session) => {
        if ((await session.query('select 1 from pg_roles where rolname = $1', [name])).length === 0) return
        await session.query(`alter role ${role} nologin`)
        await session.query('select pg_terminate_backend(pid) from pg_stat_activity where usename = $1', [name])
        await session.query(`grant ${role} to current_user`)
        await session.query(`reassign owned by ${role} to current_user`)
        await session.query(`drop owned by ${role}`)
        await session.query(`drop role ${role}`)
      })
    },

    bind(resource, grant, target) {
      const { database, tls } = configOf(resource.name, resource.config)
      const name = roleOf(resource.app, grant.user)
      const [user, password] = [encodeURIComponent(name), encodeURIComponent(grant.password)]
      // The name that is dialled is the edge's, so what is checked is that it is encrypted, not whose name it has.
      const mode = tls === 'required' ? 'require' : 'disable'
      const env = {
        DATABASE_URL: `postgresql://${user}:${password}@${target.host}:${target.port}/${encodeURIComponent(database)}?sslmode=${mode}`,
        PGHOST: target.host,
        PGPORT: `${target.port}`,
        PGUSER: name,
        PGPASSWORD: grant.password,
        PGDATABASE: database,
        PGSSLMODE: mode,
      }
      return { env, files: [] }
    },

    quiesce: (context) => Promise.reject(notOurs(context.name, 'brought to rest for a checkpoint')),
    recover: (context) => Promise.reject(notOurs(context.name, 'put back from a checkpoint')),
    diff: (context) => Promise.reject(notOurs(context.name, 'compared with a checkpoint')),
    metrics: () => Promise.resolve([]),
  }
}

/** A consumer's role. Others may have their apps on the same server, so it says whose it is. */
function roleOf(app: string, user: string): string {
  return `${namesOf(app).database}_${user}`
}

function configOf(name: string, config: Json): HostedConfig {
  const { hosted, database, tls } = config as Partial<Record<keyof HostedConfig, Json>>
  if (typeof hosted === 'string' && typeof database === 'string' && (tls === 'required' || tls === 'off'))
    return { hosted, database, tls }
  throw new SteadError({
    code: 'database.bad-config',
    message: `database ${name}: hosted, database or tls is missing or wrong`,
    hint: "As in postgres('db', { hosted: secret('db-url', { from: 'operator' }), database: 'shop' }).",
  })
}

/** Where it is and who we are there. Throws `database.hosted-url`. */
function hostedOf({ name, config, adminPassword: text }: ProviderContext): Hosted {
  const { hosted, database, tls } = configOf(name, config)
  const refuse = (problem: string, retry: 'never' | 'later'): SteadError =>
    new SteadError({
      code: 'database.hosted-url',
      message: `database ${name}: the secret ${hosted} ${problem}`,
      hint: `It is the URL of the database: postgresql://ROLE:PASSWORD@HOST:PORT/${database}. Set it with \`stead secret set ${hosted}\`.`,
      retry,
    })
  if (text === '') throw refuse('has no value yet', 'later')
  const url = URL.parse(text)
  if (url === null || !/^postgres(?:ql)?:$/.test(url.protocol) || url.hostname === '' || url.username === '')
    throw refuse('is no URL of a PostgreSQL database', 'never')
  const named = decodeURIComponent(url.pathname.slice(1))
  if (named !== '' && named !== database)
    throw refuse(`leads to the database ${named}, and the app file says ${database}`, 'never')
  return {
    name,
    address: { socketDir: url.hostname, port: url.port === '' ? defaultPort : Number(url.port), tls },
    login: { user: decodeURIComponent(url.username), password: decodeURIComponent(url.password), database },
  }
}

/** A session as the given role. Throws `database.unreachable`, `database.refused`, and the work's own errors as they are. */
async function inSession<T>(
  { name, address, login }: Hosted,
  work: (session: Session) => Promise<T>,
  limits: Partial<SessionLimits> = {},
): Promise<T> {
  try {
    return await withSession(address, login, work, limits)
  } catch (cause) {
    if (isSteadError(cause)) throw cause
    const refusal = refusalOf(cause)
    throw new SteadError({
      code: refusal === null || isEnd(refusal) ? 'database.unreachable' : 'database.refused',
      message: `database ${name} at ${address.socketDir}:${address.port}, as ${login.user}: ${messageOf(cause)}`,
      hint: refusal?.hint ?? refusal?.detail ?? 'It is hosted elsewhere: see there whether it runs and lets you in.',
      retry: refusal === null || mayPass(refusal) ? 'later' : 'never',
      cause,
    })
  }
}

async function letIn(
  session: Session,
  { name, login }: Hosted,
  context: { readonly app: string; readonly filesDir: string | null; readonly random: Random },
  grant: Grant,
): Promise<void> {
  const [own] = await session.query<{ may: boolean }>(
    'select rolsuper or rolcreaterole as may from pg_roles where rolname = current_user',
  )
  if (own?.may !== true) {
    throw new SteadError({
      code: 'database.hosted-rights',
      message: `database ${name}: the role ${login.user} may not make roles, and ${grant.consumer} is to have one of its own`,
      hint: `Let it: alter role ${login.user} createrole. Nobody is handed the role of the URL itself.`,
    })
  }
  const roleName = roleOf(context.app, grant.user)
  const role = quoteName(roleName)
  const verifier = quoteText(passwordVerifier(grant.password, context.random))
  const exists = (await session.query('select 1 from pg_roles where rolname = $1', [roleName])).length > 0
  const tables = 'select, insert, update, delete on tables'
  for (const statement of [
    'begin',
    ...(exists ? [] : [`create role ${role}`]),
    `alter role ${role} with login password ${verifier}`,
    `grant connect, temporary on database ${quoteName(login.database)} to ${role}`,
    `grant usage${context.filesDir === null ? ', create' : ''} on schema public to ${role}`,
    `grant select, insert, update, delete on all tables in schema public to ${role}`,
    `grant usage, select, update on all sequences in schema public to ${role}`,
    `alter default privileges in schema public grant ${tables} to ${role}`,
    `alter default privileges in schema public grant usage, select, update on sequences to ${role}`,
    'commit',
  ])
    await session.query(statement)
}

function notOurs(name: string, what: string): SteadError {
  return new SteadError({
    code: 'database.hosted-refused',
    message: `database ${name} is hosted elsewhere and cannot be ${what} from here`,
    hint: 'Whoever hosts it has backups and restores of his own.',
  })
}
