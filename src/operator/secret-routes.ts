/** The operations on secrets as HTTP. Invariant: whoever may see names and ages may not set, rotate or take out values. */
import { z } from 'zod'
import { badRequest } from './bad-request.ts'
import type { Question, Route } from './route.ts'

const valueBody = z.object({ value: z.base64(), source: z.enum(['operator', 'imported']) })
const restoreBody = z.object({
  secrets: z
    .array(
      z.object({
        name: z.string().min(1).max(200),
        source: z.enum(['generated', 'operator', 'imported']),
        value: z.base64(),
      }),
    )
    .max(10_000),
})
const exportBody = z.object({ recipients: z.array(z.string().max(4096)).max(64) })

async function bodyOf<T>({ body }: Question, schema: z.ZodType<T>): Promise<T> {
  const parsed = schema.safeParse(await body())
  if (parsed.success) return parsed.data
  // The body may hold a value: only the place of what is wrong is told.
  throw badRequest(`the body is not what it should be at ${parsed.error.issues[0]?.path.join('.') || 'its root'}`)
}

const place = ({ path }: Question): readonly [app: string, name: string] => [path['app'] ?? '', path['name'] ?? '']

export const secretRoutes: readonly Route[] = [
  {
    method: 'GET',
    path: '/v1/apps/:app/secrets',
    right: 'read',
    answer: async ({ secrets }, { path }) => ({ kind: 'value', value: await secrets.list(path['app'] ?? '') }),
  },
  {
    method: 'PUT',
    path: '/v1/apps/:app/secrets/:name',
    right: 'secrets',
    async answer({ secrets }, question) {
      const { value, source } = await bodyOf(question, valueBody)
      const version = await secrets.set(...place(question), Buffer.from(value, 'base64'), source)
      return { kind: 'value', value: { version } }
    },
  },
  {
    method: 'DELETE',
    path: '/v1/apps/:app/secrets/:name',
    right: 'secrets',
    async answer({ secrets }, question) {
      await secrets.remove(...place(question))
      return { kind: 'value', value: { removed: true } }
    },
  },
  {
    method: 'POST',
    path: '/v1/apps/:app/secrets/:name/rotate',
    right: 'secrets',
    answer: async ({ secrets }, question) => ({ kind: 'value', value: await secrets.rotate(...place(question)) }),
  },
  {
    method: 'POST',
    path: '/v1/apps/:app/secrets/:name/export',
    right: 'secrets',
    async answer({ secrets }, question) {
      const { recipients } = await bodyOf(question, exportBody)
      const text = await secrets.export(...place(question), recipients, question.caller.name)
      return { kind: 'value', value: { text } }
    },
  },
  {
    method: 'POST',
    path: '/v1/apps/:app/secrets/export',
    right: 'secrets',
    async answer({ secrets }, question) {
      const { recipients } = await bodyOf(question, exportBody)
      const [app] = place(question)
      return { kind: 'value', value: await secrets.exportAll(app, recipients, question.caller.name) }
    },
  },
  {
    method: 'POST',
    path: '/v1/apps/:app/secrets/restore',
    right: 'secrets',
    async answer({ secrets }, question) {
      const { secrets: given } = await bodyOf(question, restoreBody)
      const [app] = place(question)
      const opened = given.map(({ value, ...secret }) => ({ ...secret, value: Buffer.from(value, 'base64') }))
      await secrets.restoreAll(app, opened)
      return { kind: 'value', value: { restored: opened.length } }
    },
  },
  {
    method: 'POST',
    path: '/v1/secrets/rekey',
    right: 'admin',
    async answer({ secrets }) {
      await secrets.changeKey()
      return { kind: 'value', value: { changed: true } }
    },
  },
]
