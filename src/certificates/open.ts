/** One function for whoever only has a choice: a driver by what was configured. */
import type { Clock, Random } from '../base/index.ts'
import type { CertificateDriver } from './driver.ts'
import { acmeCertificates } from './drivers/acme.ts'
import { fileCertificates } from './drivers/files.ts'
import { localCertificates } from './drivers/local.ts'

/** Where certificates are to come from. */
export type CertificateChoice =
  /** A directory that somebody else fills. */
  | { readonly kind: 'files'; readonly dir: string }
  /** This machine's own authority, kept in the directory. */
  | { readonly kind: 'local'; readonly dir: string }
  /** An ACME authority (Let's Encrypt by default); accounts and certificates are kept in the directory. */
  | {
      readonly kind: 'acme'
      readonly dir: string
      readonly email: string | null
      readonly directoryUrl?: string
      readonly roots?: string
    }

/** Opens a driver. Throws as the driver's own function does. */
export function openCertificates(
  choice: CertificateChoice,
  { clock, random }: { readonly clock: Clock; readonly random: Random },
): Promise<CertificateDriver> {
  switch (choice.kind) {
    case 'files':
      return fileCertificates({ ...choice, clock })
    case 'local':
      return localCertificates({ ...choice, clock, random })
    case 'acme':
      return acmeCertificates({ ...choice, clock, random })
  }
}
