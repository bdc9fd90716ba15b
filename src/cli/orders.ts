/** Carries out an order for a part and waits until it is so. Invariant: the order is durable before anything is waited for. */
import { SteadError, systemClock } from '../base/index.ts'
import type { AppView, Order } from '../control/index.ts'
import type { PartOrderKind } from '../operator/index.ts'
import type { Platform } from './platform.ts'

/** Longest wait. What was ordered holds, and goes on coming about, after it. */
const waitMs = 300_000

type Kind = { readonly app: string; readonly part: string; readonly by: string; readonly kind: PartOrderKind }

/** Throws what `control.operate` does, and `cli.order-failed` when it does not come about. */
export async function orderPart(platform: Pick<Platform, 'operate' | 'view' | 'onChange'>, order: Kind): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const look = (): void => {
    const view = platform.view(order.app)
    if (view === null || isDone(view, order)) return resolve()
    const failed = order.kind === 'stop' ? null : failureOf(view, order.part)
    if (failed !== null) reject(orderFailed(order, failed, `See \`stead logs ${order.part}\`.`))
  }
  const late = (): void =>
    reject(orderFailed(order, `not within ${waitMs / 60_000} minutes`, 'It goes on: see `stead status`.'))
  await platform.operate(order satisfies Order)
  using _listening = platform.onChange(look)
  using _timer = systemClock.after(waitMs, late)
  look()
  await promise
}

function isDone(view: AppView, { part: name, kind }: Kind): boolean {
  const part = view.app.graph.parts.find((candidate) => candidate.name === name)
  const own = view.instances.filter(({ record }) => record.part.name === name)
  const active = own.filter(({ record }) => record.phase === 'active')
  if (kind === 'stop') return active.length === 0 && own.every(({ record }) => record.phase !== 'retiring')
  if (part?.kind !== 'service' || !view.app.wanted) return true
  const wanted = view.orders.get(name)?.generation
  const ready = active.filter(({ record, status }) => record.generation === wanted && status?.phase === 'ready')
  return ready.length >= part.replicas && active.length === ready.length
}

/** Why the newest instances of a part do not come up. */
function failureOf(view: AppView, part: string): string | null {
  const active = view.instances.filter(({ record }) => record.part.name === part && record.phase === 'active')
  const wanted = view.orders.get(part)?.generation
  const failed = active.find(({ record, status }) => record.generation === wanted && status?.phase === 'gave-up')
  return failed === undefined ? null : (failed.status?.reason ?? 'it gave up')
}

function orderFailed({ kind, part }: Kind, why: string, hint: string): SteadError {
  return new SteadError({ code: 'cli.order-failed', message: `${part} did not ${kind}: ${why}`, hint })
}
