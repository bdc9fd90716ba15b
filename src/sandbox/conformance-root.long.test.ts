/** The driver with bubblewrap against the conformance suite once more, with every program in a root of its own. */
import { conform } from './fixtures/conform.ts'

conform('bubblewrap', true)
