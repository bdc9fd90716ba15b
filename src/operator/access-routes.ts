/** The operations on people and on the record of what was done, as HTTP. */
import { z } from 'zod'
import { SteadError } from '../base/index.ts'
import { badRequest } from './bad-request.ts'
import type { Caller } from './caller.ts'
import type { Gate } from './gate.ts'
import type { LineFilter } from './audit-file.ts'
import type { Line } from './audit.ts'
import { type Grant, grantSchema, type Person } from './people.ts'
import { number, type Route, value } from './route.ts'

/** A person as shown: no hash, no key. */
export interface PersonSummary extends Omit<Grant, 'sshKeys'> {
  readonly sinceMs: number
  readonly sshKeys: number
  readonly tokens: readonly { readonly id: string; readonly sinceMs: number; readonly expiresAtMs: number }[]
}

const tokenRequest = z.strictObject({ expiresAtMs: z.int().nonnegative() })

export const accessRoutes: readonly Route[] = [
  {
    method: 'GET',
    path: '/v1/people',
    right: 'admin',
    answer: (_, { gate }) => value(needGate(gate).people.map(summaryOf)),
  },
  {
    method: 'PUT',
    path: '/v1/people/:person',
    right: 'admin',
    async answer(_, { gate, path, body }) {
      const asked = grantSchema.safeParse(await body())
      if (!asked.success) throw badRequest(firstIssue(asked.error))
      await needGate(gate).grant({ ...asked.data, name: path['person'] ?? '' })
      return value({ added: true })
    },
  },
  {
    method: 'DELETE',
    path: '/v1/people/:person',
    right: 'admin',
    async answer(_, { gate, path }) {
      await needGate(gate).remove(path['person'] ?? '')
      return value({ removed: true })
    },
  },
  {
    method: 'POST',
    path: '/v1/people/:person/tokens',
    right: 'admin',
    async answer(_, { gate, path, body }) {
      const asked = tokenRequest.safeParse(await body())
      if (!asked.success) throw badRequest(firstIssue(asked.error))
      return value(await needGate(gate).issueToken(path['person'] ?? '', asked.data.expiresAtMs))
    },
  },
  {
    method: 'DELETE',
    path: '/v1/people/:person/tokens',
    right: 'admin',
    async answer(_, { gate, path }) {
      await needGate(gate).revokeTokens(path['person'] ?? '')
      return value({ revoked: true })
    },
  },
  {
    method: 'GET',
    path: '/v1/audit',
    right: 'admin',
    filtered: true,
    answer: (_, { gate, query, caller }) => {
      const filter = { app: query.get('app'), who: query.get('who'), sinceMs: number(query, 'since') }
      return { kind: 'lines', lines: shownTo(caller, needGate(gate), filter) }
    },
  },
  {
    method: 'GET',
    path: '/v1/audit/verdict',
    right: 'admin',
    answer: async (_, { gate, query }) => value(await needGate(gate).verify(query.get('contains'))),
  },
]

function summaryOf({ sshKeys, tokens, ...person }: Person): PersonSummary {
  const shown = tokens.map(({ id, sinceMs, expiresAtMs }) => ({ id, sinceMs, expiresAtMs }))
  return { ...person, sshKeys: sshKeys.length, tokens: shown }
}

/** An admin of some apps sees what happened to these. */
async function* shownTo(caller: Caller, gate: Gate, filter: LineFilter): AsyncIterable<Line> {
  for await (const line of gate.lines(filter)) if (caller.may('admin', line.app)) yield line
}

function needGate(gate: Gate | null): Gate {
  if (gate !== null) return gate
  throw new SteadError({
    code: 'operator.owner-only',
    message: "an app of `stead up` is its owner's alone: it knows no other people and keeps no record",
    hint: 'Run it with `stead serve` and `stead deploy`.',
  })
}

function firstIssue(error: z.ZodError): string {
  const [issue] = error.issues
  return issue === undefined ? 'not what was asked for' : `${issue.path.join('.')}: ${issue.message}`
}
