/** Fetches the debuggers and editors that Stead is tested with, into the cache; what is there stays. */
import { fetchDebugTools } from '../test/debug-tools.ts'

fetchDebugTools((text) => void process.stdout.write(`${text}\n`))
