/**
 * How many client connections there may be, pure: in all, and of one address, so that no single client takes the places of
 * everybody else. Invariant: what was taken is given back once, and an address that has none is forgotten.
 */

export interface DoormanLimits {
  readonly connectionsMax: number
  readonly addressConnectionsMax: number
}

export class Doorman {
  readonly #limits: DoormanLimits
  readonly #byAddress = new Map<string, number>()
  #all = 0

  constructor(limits: DoormanLimits) {
    this.#limits = limits
  }

  /** Counts one more connection; null when there is no place for it. Dispose when it is closed. */
  take(address: string): Disposable | null {
    const count = this.#byAddress.get(address) ?? 0
    if (this.#all >= this.#limits.connectionsMax || count >= this.#limits.addressConnectionsMax) return null
    this.#all += 1
    this.#byAddress.set(address, count + 1)
    let taken = true
    return {
      [Symbol.dispose]: () => {
        if (!taken) return
        taken = false
        this.#all -= 1
        const left = (this.#byAddress.get(address) ?? 1) - 1
        if (left === 0) this.#byAddress.delete(address)
        else this.#byAddress.set(address, left)
      },
    }
  }
}
