/** What can be asked about secrets. Data and one interface, no I/O. Invariant: a value goes in, and comes out only sealed. */

/** What may be shown of one secret, or of the login that a part has for a resource. */
export interface SecretStatus {
  /** `smtp-password`; the login of web for the database db is `db/web`. */
  readonly name: string
  readonly kind: 'secret' | 'login'
  /** Who makes its values. */
  readonly from: 'generated' | 'operator'
  /** 0: it has no value. */
  readonly current: number
  /** Oldest first; times in milliseconds since 1970. */
  readonly versions: readonly {
    readonly version: number
    readonly createdMs: number
    readonly source: 'generated' | 'operator' | 'imported'
  }[]
  /** Which instance was given which version. */
  readonly users: readonly { readonly instance: string; readonly version: number }[]
  /** Where its rotation stands, or that its value cannot be opened; null when there is nothing to say. */
  readonly rotation: string | null
}

/** What came of asking for rotations. */
export interface RotateAnswer {
  readonly started: readonly string[]
  readonly refused: readonly { readonly name: string; readonly reason: string }[]
}

export interface SealedSecret {
  /** As the vault has it: a secret, or `db/admin`. */
  readonly name: string
  readonly source: 'generated' | 'operator' | 'imported'
  /** In the format of age, armored. */
  readonly text: string
}

export interface OpenedSecret extends Pick<SealedSecret, 'name' | 'source'> {
  readonly value: Uint8Array
}

/** Everything throws `control.unknown-app`, `control.unknown-secret`. */
export interface SecretOperations {
  list(app: string): Promise<readonly SecretStatus[]>
  /** Gives a secret a new value; answers its version. Throws `control.not-text`, `secrets.bad-value`, `secrets.rotating`. */
  set(app: string, name: string, value: Uint8Array, source: 'operator' | 'imported'): Promise<number>
  /** Throws `control.secret-in-use`, `secrets.unknown`. */
  remove(app: string, name: string): Promise<void>
  /** Throws `control.not-rotatable`. */
  rotate(app: string, name: string): Promise<RotateAnswer>
  /** The current value for recipients of age. Throws `secrets.bad-recipient`, `secrets.unknown`. */
  export(app: string, name: string, recipients: readonly string[], by: string): Promise<string>
  /** All values that the app cannot do without on another machine, each for those recipients. */
  exportAll(app: string, recipients: readonly string[], by: string): Promise<readonly SealedSecret[]>
  /** Gives values back to an app that is not here yet. Throws `control.app-is-here`. */
  restoreAll(app: string, secrets: readonly OpenedSecret[]): Promise<void>
  /** Changes the key that everything is sealed with. */
  changeKey(): Promise<void>
}
