/** Work that must not overlap: each piece starts when the one before it has ended, in the order it came. The queue is bounded. */
import { SteadError } from '../base/index.ts'

const waitingMax = 64

export class Turns {
  #last: Promise<unknown> = Promise.resolve()
  #waiting = 0

  /** Runs `work` when all earlier work has ended. Throws `domain.busy` when too much is waiting already. */
  async take<T>(work: () => Promise<T>): Promise<T> {
    if (this.#waiting >= waitingMax) {
      throw new SteadError({
        code: 'domain.busy',
        message: `${waitingMax} changes of this domain are waiting already.`,
        hint: 'Ask again when some have been done.',
        retry: 'later',
      })
    }
    this.#waiting += 1
    const turn = this.#last.then(work).finally(() => {
      this.#waiting -= 1
    })
    this.#last = turn.catch(() => undefined)
    return turn
  }
}
