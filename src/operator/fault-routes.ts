/** Breaking things on purpose, and the way into the dashboard that shows it, as HTTP. */
import { z } from 'zod'
import { faultLeaseMs, faultSchema } from '../protocol/index.ts'
import { badRequest } from './bad-request.ts'
import { type Route, value } from './route.ts'

const faultRequest = z.object({
  fault: faultSchema,
  leaseMs: z.number().min(faultLeaseMs.min).max(faultLeaseMs.max),
})

export const faultRoutes: readonly Route[] = [
  {
    method: 'POST',
    path: '/v1/apps/:app/faults',
    right: 'operate',
    answer: async (operations, { path, body }) => {
      const parsed = faultRequest.safeParse(await body())
      if (!parsed.success) throw badRequest(parsed.error.issues[0]?.message ?? 'not a fault')
      return value({ id: await operations.breakPart(path['app'] ?? '', parsed.data) })
    },
  },
  {
    method: 'DELETE',
    path: '/v1/apps/:app/faults/:fault',
    right: 'operate',
    answer: async (operations, { path }) => {
      await operations.heal(path['app'] ?? '', path['fault'] ?? '')
      return value({ healed: true })
    },
  },
  {
    method: 'POST',
    path: '/v1/dashboard/login',
    right: 'read',
    // What a session may see is asked anew with every look.
    filtered: true,
    answer: (operations, { caller }) => value(operations.dashboardLogin(caller)),
  },
]
