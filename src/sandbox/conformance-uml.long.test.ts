/** The driver whose guests' kernel is a program against the conformance suite. */
import { conform } from './fixtures/conform.ts'

conform('uml')
