/** The face of `secrets`: the provider of secrets. */
export { secretProvider } from './provider.ts'
