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
  /** Changes the key that everything is sealed with. */
  changeKey(): Promise<void>
}
