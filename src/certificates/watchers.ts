/** Who wants to be told of changes. One that throws is a bug and is not hidden. */

export class Watchers {
  readonly #runs = new Set<() => void>()

  add(run: () => void): Disposable {
    this.#runs.add(run)
    return { [Symbol.dispose]: () => void this.#runs.delete(run) }
  }

  tell(): void {
    for (const run of this.#runs) run()
  }
}
