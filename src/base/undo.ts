/**
 * The undo stack for work of several steps: each step that succeeds pushes how to take it back; leaving the scope
 * without `commit()` takes everything back, last step first. A failing undo does not stop the ones below it.
 */

export class UndoStack implements AsyncDisposable {
  readonly #steps: { what: string; undo: () => unknown }[] = []

  /** Remembers how to take back the step that has just succeeded. `what` names it in the error if taking back fails. */
  push(what: string, undo: () => unknown): void {
    this.#steps.push({ what, undo })
  }

  /** Everything worked: forget the undo steps. */
  commit(): void {
    this.#steps.length = 0
  }

  /** Takes everything back. Throws an AggregateError naming each step that could not be. */
  async [Symbol.asyncDispose](): Promise<void> {
    const failures: Error[] = []
    for (let step = this.#steps.pop(); step !== undefined; step = this.#steps.pop()) {
      try {
        await step.undo()
      } catch (cause) {
        failures.push(new Error(`could not undo: ${step.what}`, { cause }))
      }
    }
    if (failures.length > 0) throw new AggregateError(failures, failures.map((failure) => failure.message).join('; '))
  }
}
