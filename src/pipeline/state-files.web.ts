// Stands for saved states on disk where there is none: an address can be read, and bytes be kept by the page itself.
import { MambakitError } from '../errors.js'

export async function saveBytes(): Promise<never> {
  throw new MambakitError('save() writes a file and needs Node; in a page keep what toBytes() gives')
}

export async function loadBytes(address: string): Promise<Uint8Array> {
  const response = await fetch(address)
  if (!response.ok) throw new MambakitError(`${address}: expected a saved state, got HTTP ${response.status}`)
  return new Uint8Array(await response.arrayBuffer())
}
