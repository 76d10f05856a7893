// Mail addresses from outside: checked before they reach a header, an SMTP command or the journal.
import { domainToASCII } from 'node:url'
import { MambakitError } from '../../errors.js'
import { plainText } from '../../papers/plainText.js'

/** What was given is no mail address that can be written to. */
export class AddressError extends MambakitError {
  override name = 'AddressError'
}

const atom = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
const localPart = new RegExp(`^${atom}(?:\\.${atom})*$`)
const domainName = /^(?=.{1,253}$)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*$/

/**
 * The address with its domain in ASCII and lower case. Throws AddressError. Quoted local parts and address literals are
 * refused: nobody has one, and they are where commands and headers get smuggled in.
 */
export function mailAddress(text: unknown): string {
  const shown = typeof text === 'string' ? `'${plainText(text, 60)}'` : 'nothing'
  const refused = new AddressError(`expected a mail address such as you@example.org, got ${shown}`)
  if (typeof text !== 'string' || text.length > 320) throw refused
  const at = text.lastIndexOf('@')
  const local = text.slice(0, at)
  // URL rules drop tabs and line ends inside a host name, so they are refused before.
  const domain = /[\s%/\\?#]/.test(text.slice(at + 1)) ? '' : domainToASCII(text.slice(at + 1))
  if (at < 1 || local.length > 64 || !localPart.test(local) || !domainName.test(domain)) throw refused
  if (local.length + 1 + domain.length > 254) throw refused
  return `${local}@${domain}`
}

/** Two addresses with the same key reach the same box: no mail provider tells cases apart. */
export const addressKey = (address: string) => address.toLowerCase()
