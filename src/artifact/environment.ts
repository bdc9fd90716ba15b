/** What an instance's environment owes to its bundle. Pure. */
import type { Bundle } from './bundle.ts'
import { pythonDirectory } from './dependencies.ts'
import { appRoot } from './runtimes.ts'

/** Variables that a program needs to find the dependencies in its bundle, shown at `appRoot`. */
export function runtimeEnvironment(bundle: Bundle): Record<string, string> {
  const hasPython = bundle.manifest.files.some((file) => file.path.startsWith(`${pythonDirectory}/`))
  return hasPython ? { PYTHONPATH: `${appRoot}/${pythonDirectory}` } : {}
}
