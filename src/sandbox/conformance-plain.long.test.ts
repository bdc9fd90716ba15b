/** Both drivers without limit groups, and one with the logger of a machine without s6, against the conformance suite. */
import { conform } from './fixtures/conform.ts'

conform('process-plain')
conform('bubblewrap-plain')
