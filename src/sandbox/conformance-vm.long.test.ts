/** The driver with a kernel of its own against the conformance suite. */
import { conform } from './fixtures/conform.ts'

conform('vm')
