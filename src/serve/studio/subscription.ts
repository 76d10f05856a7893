// Subscribing by double opt-in: an address gets one mail with a link, and nothing more until the link was used.
import { randomBytes } from 'node:crypto'
import { escapeMarkup } from '../../papers/plainText.js'
import { mailAddress } from '../mail/address.js'
import { messageBytes } from '../mail/message.js'
import { unsubscribeAddress } from '../mail/runDigest.js'
import { SmtpError, type SmtpServer, SmtpSession, type SmtpTimeouts } from '../mail/smtp.js'
import { confirmWithin, type Subscribers } from '../mail/subscribers.js'
import { readToken, signedToken } from '../mail/tokens.js'
import { RateLimit } from './rateLimit.js'

export interface MailSettings {
  readonly server: SmtpServer
  readonly from: string
  readonly secret: Buffer
  readonly subscribers: Subscribers
  readonly timeouts?: SmtpTimeouts
}

/** What is said to who asked; `status` is HTTP's. */
export interface Reply {
  readonly status: 200 | 400 | 410 | 422 | 429 | 502 | 507
  readonly text: string
}

const minute = 60_000

export class Subscription {
  readonly #perAsker = new RateLimit(5, 10 * minute)
  readonly #perAddress = new RateLimit(2, 60 * minute)
  readonly #all = new RateLimit(300, 60 * minute)

  constructor(
    readonly settings: MailSettings,
    /** Address of the page as readers see it, ending in a slash. */
    readonly site: string,
  ) {}

  /** Mails a confirmation link. Whether the address is subscribed already is told to its owner only. */
  async request(given: unknown, asker: string): Promise<Reply> {
    const { subscribers } = this.settings
    const address = mailAddress(given)
    const tooMany = 'Too many requests. Try again in an hour.'
    if (!this.#perAsker.allows(asker) || !this.#perAddress.allows(address.toLowerCase()))
      return { status: 429, text: tooMany }
    if (!this.#all.allows('')) return { status: 429, text: tooMany }
    await subscribers.refresh()
    const known = subscribers.find(address)?.state === 'confirmed'
    const nonce = randomBytes(16).toString('base64url')
    // On disk before the mail goes out: its link must work.
    if (!known) await subscribers.record({ is: 'requested', address, nonce, site: this.site })
    try {
      const refused = await this.#mail(
        address,
        known ? knownMail(this.#unsubscribe(address)) : confirmMail(this.#confirm(address, nonce)),
        nonce,
      )
      if (refused === null)
        return { status: 200, text: `A mail is on its way to ${address}. Open the link in it to confirm.` }
      return { status: 422, text: `The mail server does not accept this address (${refused}). Check it and try again.` }
    } catch (error) {
      if (!(error instanceof SmtpError)) throw error
      process.stderr.write(`${error.message}\n`)
      return { status: 502, text: 'The confirmation mail could not be sent. Try again in a few minutes.' }
    }
  }

  /** Throws TokenError for a link that was not made here. */
  async confirm(token: string): Promise<Reply> {
    const { secret, subscribers } = this.settings
    const { address, nonce } = readToken(secret, token, 'confirm')
    await subscribers.refresh()
    const found = subscribers.find(address)
    const stale = found?.nonce !== nonce || !['requested', 'confirmed'].includes(found.state)
    if (stale || (found.state === 'requested' && Date.now() - found.requestedAt > confirmWithin))
      return { status: 410, text: 'This link has been used up or is too old. Subscribe again to get a new one.' }
    if (found.state === 'requested') await subscribers.record({ is: 'confirmed', address, nonce })
    return { status: 200, text: `${address} is subscribed. Every mail has a link to unsubscribe.` }
  }

  /** Works whenever the link is ours, as often as it is used. Throws TokenError for a link that was not made here. */
  async unsubscribe(token: string): Promise<Reply> {
    const { secret, subscribers } = this.settings
    const { address } = readToken(secret, token, 'unsubscribe')
    await subscribers.refresh()
    if (subscribers.find(address)?.state !== 'unsubscribed') await subscribers.record({ is: 'unsubscribed', address })
    return { status: 200, text: `${address} is unsubscribed and gets no more mail.` }
  }

  #confirm(address: string, nonce: string): string {
    return `${this.site}confirm?token=${signedToken(this.settings.secret, { purpose: 'confirm', address, nonce })}`
  }

  #unsubscribe(address: string): string {
    return unsubscribeAddress(this.settings.secret, this.site, address)
  }

  /** Gives why the server refuses the address, or null. Throws SmtpError. */
  async #mail(to: string, { subject, text, link }: LinkMail, id: string): Promise<string | null> {
    const { server, from, timeouts } = this.settings
    const html = `<p>${escapeMarkup(text)}</p><p><a href="${escapeMarkup(link)}">${escapeMarkup(link)}</a></p>`
    const message = await messageBytes({ from, to, subject, text: `${text}\n\n${link}\n`, html, id })
    const session = new SmtpSession(server, timeouts)
    try {
      const answer = await session.send(from, to, message)
      session.quit()
      return answer.taken ? null : answer.reason
    } finally {
      session.close()
    }
  }
}

interface LinkMail {
  readonly subject: string
  readonly text: string
  readonly link: string
}

const confirmMail = (link: string): LinkMail => ({
  subject: 'Confirm your subscription to the papers page',
  text: 'Somebody, probably you, asked for new papers and results by mail. Open this link within three days to confirm. If it was not you, do nothing: no more mail will come.',
  link,
})

const knownMail = (link: string): LinkMail => ({
  subject: 'You are subscribed to the papers page',
  text: 'Somebody, probably you, asked for new papers and results by mail. You are subscribed already. To stop, open this link:',
  link,
})
