// Who gets the digest, which digests there were, and who got them: what the journal's records come to.
import { randomBytes } from 'node:crypto'
import { hostname, uptime } from 'node:os'
import { addressKey } from './address.js'
import { Journal } from './journal.js'

type Event =
  | { readonly is: 'requested'; readonly address: string; readonly nonce: string; readonly site: string }
  | { readonly is: 'confirmed'; readonly address: string; readonly nonce: string }
  | { readonly is: 'unsubscribed'; readonly address: string }
  | { readonly is: 'set-aside'; readonly address: string; readonly reason: string }
  | ({ readonly is: 'digest' } & Digest)
  | { readonly is: 'sending' | 'sent'; readonly digest: string; readonly address: string }
  | { readonly is: 'unsent' | 'deferred'; readonly digest: string; readonly address: string; readonly reason: string }
  | { readonly is: 'digest-done'; readonly digest: string }
  | ({ readonly is: 'claimed' } & Sender)
  | { readonly is: 'released'; readonly sender: string }

export type Record = Event & { readonly at: string }

/** A digest as everyone gets it, whatever changes while it is mailed. */
export interface Digest {
  readonly digest: string
  /** Keys of the news in it, and of older news that it stands for. */
  readonly items: readonly string[]
  readonly subject: string
  readonly html: string
  readonly text: string
}

/** A process that mails digests; there is one at a time. */
interface Sender {
  readonly sender: string
  readonly pid: number
  readonly host: string
  /** When the machine started, in seconds: process ids start anew then. */
  readonly boot: number
}

export type SubscriberState = 'requested' | 'confirmed' | 'unsubscribed' | 'set-aside'

export interface Subscriber {
  readonly address: string
  readonly state: SubscriberState
  readonly nonce: string
  /** Address of the page where the digest was subscribed to; links in mails lead there. */
  readonly site: string
  readonly requestedAt: number
}

/** What became of a digest for one address; absent where nothing was tried. */
export type Delivery = 'sending' | 'sent' | 'deferred'

/** After so many refusals for the time being, an address is set aside. */
export const mostDeferrals = 3
/** A confirmation link works this long, in milliseconds. */
export const confirmWithin = 3 * 24 * 3600_000

export class Subscribers {
  readonly #journal: Journal<Record>
  readonly #subscribers = new Map<string, Subscriber>()
  readonly #digests = new Map<string, Digest & { done: boolean; deliveries: Map<string, Delivery> }>()
  readonly #deferrals = new Map<string, number>()
  #claims: Sender[] = []
  /** When anything but a claim was recorded last. */
  #lastAt = 0
  /** The claim of this process. */
  #own = ''

  private constructor(journal: Journal<Record>) {
    this.#journal = journal
  }

  static async open(file: string): Promise<Subscribers> {
    const subscribers = new Subscribers(await Journal.open<Record>(file))
    await subscribers.refresh()
    return subscribers
  }

  close(): Promise<void> {
    return this.#journal.close()
  }

  /** Takes in what this and other processes have recorded. */
  async refresh(): Promise<void> {
    for (const record of await this.#journal.read()) this.#apply(record)
  }

  find(address: string): Subscriber | undefined {
    return this.#subscribers.get(addressKey(address))
  }

  confirmed(): Subscriber[] {
    return [...this.#subscribers.values()].filter(({ state }) => state === 'confirmed')
  }

  setAside(): Subscriber[] {
    return [...this.#subscribers.values()].filter(({ state }) => state === 'set-aside')
  }

  /** The digest that not everyone has been mailed yet. */
  unfinishedDigest(): Digest | undefined {
    return [...this.#digests.values()].find(({ done }) => !done)
  }

  /** Keys of all news that digests have told. */
  told(): Set<string> {
    return new Set([...this.#digests.values()].flatMap(({ items }) => items))
  }

  delivery(digest: string, address: string): Delivery | undefined {
    return this.#digests.get(digest)?.deliveries.get(addressKey(address))
  }

  /** Addresses for which a kill or a lost connection left open whether the server took the digest. */
  uncertain(digest: string): string[] {
    const deliveries = this.#digests.get(digest)?.deliveries ?? new Map<string, Delivery>()
    return [...deliveries].filter(([, delivery]) => delivery === 'sending').map(([address]) => address)
  }

  /** How often the server has put an address off since it last took a mail. */
  deferrals(address: string): number {
    return this.#deferrals.get(addressKey(address)) ?? 0
  }

  /** Resolves when the event is on disk and counts here. */
  async record(event: Event): Promise<void> {
    await this.#journal.append({ ...event, at: new Date().toISOString() })
    await this.refresh()
  }

  /**
   * Makes this process the only sender. Every process appends its claim, and the first claim of a living process holds:
   * the order in the journal is the same for all. Gives null, or the process that holds already.
   */
  async claim(): Promise<{ readonly pid: number; readonly host: string } | null> {
    const boot = bootTime()
    const sender = { sender: randomBytes(8).toString('hex'), pid: process.pid, host: hostname(), boot }
    await this.record({ is: 'claimed', ...sender })
    const first = this.#claims.find((claim) => claim.sender === sender.sender || this.#lives(claim))
    if (first?.sender === sender.sender) {
      this.#own = sender.sender
      return null
    }
    await this.record({ is: 'released', sender: sender.sender })
    return first ?? null
  }

  async release(): Promise<void> {
    if (this.#own) await this.record({ is: 'released', sender: this.#own })
    this.#own = ''
  }

  #lives({ pid, host, boot }: Sender): boolean {
    // Another machine, or a container that is gone: a sender records something at least every few minutes.
    if (host !== hostname()) return Date.now() - this.#lastAt < 10 * 60_000
    if (Math.abs(boot - bootTime()) > 60) return false
    try {
      process.kill(pid, 0)
      return true
    } catch (error) {
      return (error as NodeJS.ErrnoException).code !== 'ESRCH'
    }
  }

  #apply(record: Record): void {
    if (record.is !== 'claimed') this.#lastAt = Math.max(this.#lastAt, Date.parse(record.at) || 0)
    switch (record.is) {
      case 'requested': {
        const { address, nonce, site, at } = record
        // Asking again does not undo a subscription.
        if (this.find(address)?.state !== 'confirmed')
          this.#put({ address, state: 'requested', nonce, site, requestedAt: Date.parse(at) })
        break
      }
      case 'confirmed': {
        const found = this.find(record.address)
        if (found?.nonce === record.nonce) {
          this.#put({ ...found, state: 'confirmed' })
          this.#deferrals.delete(addressKey(record.address))
        }
        break
      }
      case 'unsubscribed':
      case 'set-aside': {
        const found = this.find(record.address)
        if (found) this.#put({ ...found, state: record.is })
        break
      }
      case 'digest':
        this.#digests.set(record.digest, { ...record, done: false, deliveries: new Map() })
        break
      case 'sending':
      case 'sent':
      case 'deferred':
      case 'unsent': {
        const key = addressKey(record.address)
        const deliveries = this.#digests.get(record.digest)?.deliveries
        if (record.is === 'unsent') deliveries?.delete(key)
        else deliveries?.set(key, record.is)
        if (record.is === 'sent') this.#deferrals.delete(key)
        if (record.is === 'deferred') this.#deferrals.set(key, (this.#deferrals.get(key) ?? 0) + 1)
        break
      }
      case 'digest-done': {
        const digest = this.#digests.get(record.digest)
        if (digest) digest.done = true
        break
      }
      case 'claimed':
        this.#claims.push(record)
        break
      case 'released':
        this.#claims = this.#claims.filter(({ sender }) => sender !== record.sender)
    }
  }

  #put(subscriber: Subscriber): void {
    this.#subscribers.set(addressKey(subscriber.address), subscriber)
  }
}

const bootTime = () => Math.round(Date.now() / 1000 - uptime())
