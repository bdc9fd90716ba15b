/** Stops an app and waits for it. */
import { systemClock } from '../base/index.ts'
import type { Control } from '../control/index.ts'

/** Stops an app, and answers whether nothing of it runs any more; false when it takes longer than `timeoutMs`. */
export async function stopApp(control: Control, app: string, timeoutMs: number): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>()
  const look = (): void => {
    if (control.view(app)?.running !== true) resolve(true)
  }
  using _listening = control.onChange(look)
  using _timer = systemClock.after(timeoutMs, () => resolve(false))
  await control.stop(app)
  look()
  return await promise
}
