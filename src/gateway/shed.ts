/**
 * Which requests are turned away when there are many, pure. Fixed shares of the whole, so that what is full is full and one
 * route cannot take the places of all others: the rest goes on being served at the speed it knows.
 */
import type { RoutePriority } from '../protocol/index.ts'

/** Up to which share of all places a request of each priority is still let in. */
const shareOf: Readonly<Record<RoutePriority, number>> = { low: 0.5, normal: 0.9, high: 1 }

/** Of all places, those that one route can have. */
const routeShareMax = 0.75

/** What is open now. */
export interface Crowd {
  /** Requests in flight or waiting in the whole gateway, and of them those of the route that is asked for. */
  readonly all: number
  readonly ofRoute: number
}

/** Whether one more is let in. */
export function admits({ all, ofRoute }: Crowd, requestsMax: number, priority: RoutePriority): boolean {
  return all < Math.ceil(requestsMax * shareOf[priority]) && ofRoute < Math.ceil(requestsMax * routeShareMax)
}
