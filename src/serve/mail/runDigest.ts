// Mails a digest to all subscribers: each of them once, whatever happens on the way. For every address the journal says
// "sending" before the server can take the mail and "sent" once it has; a mail that neither side knows the end of is not
// sent again, because twice is worse than a hint to look.
import { createHash } from 'node:crypto'
import { MambakitError } from '../../errors.js'
import { composeDigest } from '../../papers/digest.js'
import type { Entry } from '../../papers/entry.js'
import { news } from '../../papers/news.js'
import { messageBytes } from './message.js'
import { type Answer, SmtpError, type SmtpServer, SmtpSession, type SmtpTimeouts } from './smtp.js'
import { type Digest, mostDeferrals, type Subscriber, type Subscribers } from './subscribers.js'
import { signedToken } from './tokens.js'

/** Digests cannot go out now. */
export class DigestError extends MambakitError {
  override name = 'DigestError'
}

/** News that one digest tells at most; older ones count as told. */
export const mostNews = 20

/** In the place of each reader's own address; no host can have this name. */
const placeholder = 'https://unsubscribe.invalid/'
const sitePlaceholder = 'https://site.invalid/'

export interface DigestRun {
  readonly subscribers: Subscribers
  readonly entries: readonly Entry[]
  readonly secret: Buffer
  readonly server: SmtpServer
  readonly from: string
  /** Mails on their way at the same time, each over a connection of its own. */
  readonly connections: number
  readonly signal?: AbortSignal
  readonly timeouts?: SmtpTimeouts
  onProgress?(done: number, all: number): void
}

export interface DigestReport {
  /** The subject; null where there was nothing new to tell. */
  readonly subject: string | null
  readonly resumed: boolean
  readonly sent: number
  /** Set aside now: they get no more digests until they subscribe again. */
  readonly setAside: readonly { readonly address: string; readonly reason: string }[]
  /** Put off by the server; the next run tries them again. */
  readonly deferred: readonly { readonly address: string; readonly reason: string }[]
  /** Nobody knows whether the server took the mail; they are not tried again. */
  readonly uncertain: readonly string[]
  /** False where the next run has to go on. */
  readonly done: boolean
}

/** Starts a digest of what is new, or goes on with the one that was not finished. */
export async function runDigest(run: DigestRun): Promise<DigestReport> {
  const { subscribers } = run
  const other = await subscribers.claim()
  if (other)
    throw new DigestError(
      `process ${other.pid} on ${other.host} is mailing the digest already; wait until it has ended`,
    )
  try {
    const unfinished = subscribers.unfinishedDigest()
    const digest = unfinished ?? (await startDigest(run))
    if (!digest) return { ...nothing, uncertain: [] }
    return await mailToAll(run, digest, unfinished !== undefined)
  } finally {
    await subscribers.release()
  }
}

const nothing = { subject: null, resumed: false, sent: 0, setAside: [], deferred: [], done: true } as const

async function startDigest({ subscribers, entries }: DigestRun): Promise<Digest | null> {
  if (subscribers.confirmed().length === 0)
    throw new DigestError('nobody has subscribed and confirmed yet; addresses come from the page of `mambakit studio`')
  const told = subscribers.told()
  const untold = news(entries).filter(({ key }) => !told.has(key))
  if (untold.length === 0) return null
  const message = composeDigest(untold.slice(0, mostNews), { site: sitePlaceholder, unsubscribe: placeholder })
  const items = untold.map(({ key }) => key)
  const digest = createHash('sha256').update(JSON.stringify(items)).digest('hex').slice(0, 16)
  await subscribers.record({ is: 'digest', digest, items, ...message })
  return { digest, items, ...message }
}

async function mailToAll(run: DigestRun, digest: Digest, resumed: boolean): Promise<DigestReport> {
  const { subscribers, server, timeouts, connections, signal, onProgress } = run
  const { digest: id } = digest
  const uncertainBefore = subscribers.uncertain(id)
  const due = subscribers.confirmed().filter(({ address }) => {
    const delivery = subscribers.delivery(id, address)
    return delivery === undefined || delivery === 'deferred'
  })
  const all = due.length
  const setAside: { address: string; reason: string }[] = []
  const deferred: { address: string; reason: string }[] = []
  const uncertain = [...uncertainBefore]
  let sent = 0
  let refusedMessages = 0
  let failure: unknown
  const stopped = () => failure !== undefined || signal?.aborted === true

  const take = async (subscriber: Subscriber, session: SmtpSession) => {
    const { address } = subscriber
    const answer = await mailOne(run, digest, subscriber, session)
    if (answer === null) return
    if (answer.taken) {
      sent++
      return
    }
    const { refused, reason } = answer
    if (refused === 'message') refusedMessages++
    // The first mails are all refused for what they are: then it is the mail, not the address.
    if (sent === 0 && refusedMessages >= Math.min(3, all))
      throw new DigestError(
        `the server refuses the digest itself (${reason}); nothing more was sent, change what it objects to`,
      )
    if (refused === 'address' || subscribers.deferrals(address) >= mostDeferrals) {
      await subscribers.record({ is: 'set-aside', address, reason })
      setAside.push({ address, reason })
    } else deferred.push({ address, reason })
  }

  const work = async () => {
    const session = new SmtpSession(server, timeouts)
    try {
      for (let subscriber = due.shift(); subscriber && !stopped(); subscriber = due.shift()) {
        await take(subscriber, session)
        onProgress?.(all - due.length, all)
      }
      session.quit()
    } catch (error) {
      failure ??= error
      session.close()
    }
  }
  await Promise.all(Array.from({ length: Math.min(connections, all) }, work))
  uncertain.push(...subscribers.uncertain(id).filter((address) => !uncertainBefore.includes(address)))

  if (failure !== undefined) {
    if (!(failure instanceof MambakitError)) throw failure
    throw new DigestError(
      `${failure.message}. ${sent} of ${all} mails were sent; the same command goes on with the rest`,
    )
  }
  const done = !stopped() && deferred.length === 0
  if (done) await subscribers.record({ is: 'digest-done', digest: id })
  return { subject: digest.subject, resumed, sent, setAside, deferred, uncertain, done }
}

/** Gives null for who has unsubscribed meanwhile. */
async function mailOne(
  run: DigestRun,
  digest: Digest,
  subscriber: Subscriber,
  session: SmtpSession,
): Promise<Answer | null> {
  const { subscribers, secret, from } = run
  const { address, site } = subscriber
  await subscribers.refresh()
  if (subscribers.find(address)?.state !== 'confirmed') return null
  const event = { digest: digest.digest, address }
  const unsubscribe = unsubscribeAddress(secret, site, address)
  const personal = (text: string) => text.replaceAll(placeholder, unsubscribe).replaceAll(sitePlaceholder, site)
  const message = await messageBytes({
    from,
    to: address,
    subject: digest.subject,
    html: personal(digest.html),
    text: personal(digest.text),
    id: digest.digest,
    unsubscribe,
  })
  const sending = () => subscribers.record({ is: 'sending', ...event })
  try {
    const answer = await session.send(from, address, message, sending)
    if (answer.taken) await subscribers.record({ is: 'sent', ...event })
    else {
      const { reason, refused } = answer
      await subscribers.record({ is: refused === 'address' ? 'unsent' : 'deferred', ...event, reason })
    }
    return answer
  } catch (error) {
    // The server cannot have it: the next run may send it.
    if (error instanceof SmtpError && !error.uncertain && subscribers.delivery(digest.digest, address) === 'sending')
      await subscribers.record({ is: 'unsent', ...event, reason: error.message })
    throw error
  }
}

/** The address in the mail to `address` by which it is unsubscribed. */
export function unsubscribeAddress(secret: Buffer, site: string, address: string): string {
  return `${site}unsubscribe?token=${signedToken(secret, { purpose: 'unsubscribe', address, nonce: '' })}`
}
