/** The driver with bubblewrap against the conformance suite once more, with every program in a root of its own, of one user and of several. */
import { conform } from './fixtures/conform.ts'

conform('bubblewrap', 'one user')
conform('bubblewrap', 'several users')
