/** Both drivers, as strong as this machine makes them, against the conformance suite. */
import { conform } from './fixtures/conform.ts'

conform('process')
conform('bubblewrap')
