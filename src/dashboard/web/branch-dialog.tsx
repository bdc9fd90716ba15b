/** Opens a copy of the data as a branch: an app of its own beside the live one. */
import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import { AskDialog } from './actions.tsx'
import { ask } from './session.ts'

interface BranchDialogProps {
  readonly app: string
  /** The copy; null: the data as it is now. */
  readonly from: string | null
  readonly onClose: () => void
}

export function BranchDialog({ app, from, onClose }: BranchDialogProps): JSX.Element {
  const [name, setName] = useState('')
  const open = (): Promise<unknown> =>
    ask('POST', `/api/v1/apps/${encodeURIComponent(app)}/branches`, { name, from, purpose: 'branch' })
  return (
    <AskDialog
      title={from === null ? 'Open a branch' : `Open ${from} as a branch`}
      no="Not now"
      yes="Open it"
      risky={false}
      ready={name.trim() !== ''}
      work={open}
      onClose={onClose}
    >
      <p>
        {`An app of its own with a copy of ${from === null ? 'the data as it is now' : 'that data'}: it sends nothing to the outside, and what is changed in it changes nothing here.`}
      </p>
      <label class="field-named">
        <span>Name</span>
        <input type="text" value={name} autocomplete="off" onInput={(event) => setName(event.currentTarget.value)} />
      </label>
    </AskDialog>
  )
}
