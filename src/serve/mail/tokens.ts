// Links in mails that only we can have made: what they do and for whom, signed with a secret of this installation.
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import { mkdir, open, readFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { MambakitError } from '../../errors.js'

export type Purpose = 'confirm' | 'unsubscribe'

export interface Claim {
  readonly purpose: Purpose
  readonly address: string
  /** Ties a confirmation to its request; empty for unsubscribing, which always works. */
  readonly nonce: string
}

/** A link was altered, made up, or cut. */
export class TokenError extends MambakitError {
  override name = 'TokenError'
}

export function signedToken(secret: Buffer, { purpose, address, nonce }: Claim): string {
  const body = Buffer.from(JSON.stringify([purpose, address, nonce])).toString('base64url')
  return `${body}.${signature(secret, body)}`
}

/** What a token says. Throws TokenError unless it was signed with `secret` for `purpose`. */
export function readToken(secret: Buffer, token: string, purpose: Purpose): Claim {
  const forged = new TokenError('this link is not whole or was not made here; open it again from the mail')
  const [body, signed, ...rest] = token.slice(0, 2000).split('.')
  if (!signed || rest.length > 0) throw forged
  const expected = Buffer.from(signature(secret, body))
  const given = Buffer.from(signed)
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) throw forged
  const [said, address, nonce] = JSON.parse(Buffer.from(body, 'base64url').toString()) as [Purpose, string, string]
  if (said !== purpose) throw forged
  return { purpose, address, nonce }
}

function signature(secret: Buffer, body: string): string {
  return createHmac('sha256', secret).update(`mambakit link ${body}`).digest('base64url')
}

/** The secret of this installation, made at the first use. Whoever starts first makes it; all others read it. */
export async function installationSecret(file: string): Promise<Buffer> {
  await mkdir(dirname(file), { recursive: true })
  try {
    const handle = await open(file, 'wx', 0o600)
    try {
      await handle.writeFile(randomBytes(32).toString('hex'))
      await handle.sync()
    } finally {
      await handle.close()
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
  const text = (await readFile(file, 'utf8')).trim()
  if (/^[0-9a-f]{64}$/.test(text)) return Buffer.from(text, 'hex')
  throw new MambakitError(
    `${file}: expected 64 hexadecimal digits; remove the file to make a new one (links in mails sent before stop working)`,
  )
}
