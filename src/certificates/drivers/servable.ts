/** A certificate that has been shown to the TLS that is to serve it: what that refuses is said here, with the file. */
import { createSecureContext } from 'node:tls'
import { messageOf, SteadError } from '../../base/index.ts'
import { readCertificate } from '../certificate.ts'
import type { Certificate, CertificateFiles } from '../certificate.ts'

/** As `readCertificate`; throws `certificates.refused` too. */
export function readServable(files: CertificateFiles, nowMs: number): Certificate {
  const certificate = readCertificate(files, nowMs)
  try {
    createSecureContext({ cert: certificate.chain, key: certificate.key })
  } catch (cause) {
    throw new SteadError({
      code: 'certificates.refused',
      message: `The TLS of this machine does not serve the certificate in ${files.chainFile}: ${messageOf(cause)}.`,
      hint: 'A key that is too small, or a signature that is no longer trusted: have it issued anew, with RSA of 2048 bits or P-256.',
      cause,
    })
  }
  return certificate
}
