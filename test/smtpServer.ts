// A real SMTP server on this machine for tests: it keeps what it takes, and can be told to refuse, to be slow, or to hang
// up.
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { SMTPServer, type SMTPServerOptions } from 'smtp-server'
import type { SmtpServer } from '../src/serve/mail/smtp.js'

export interface TakenMail {
  readonly from: string
  readonly to: string
  /** Headers with folded lines joined, by lower-case name. */
  readonly headers: ReadonlyMap<string, string>
  readonly raw: string
  /** The text part, decoded. */
  readonly text: string
}

export interface Behaviour {
  /** Answers to a recipient: null accepts it, else a code and text. */
  recipient?(address: string): readonly [code: number, text: string] | null
  /** Answers to a mail, after it was received; may wait. Null takes it. */
  mail?(to: string): Promise<readonly [code: number, text: string] | null>
  readonly options?: SMTPServerOptions
}

export class TestSmtpServer implements AsyncDisposable {
  readonly taken: TakenMail[] = []
  /** Mails received whole, taken or not, whose answer is not given yet; and the most there were at a time. */
  inFlight = 0
  mostInFlight = 0
  connections = 0

  private constructor(
    readonly smtp: SMTPServer,
    readonly port: number,
  ) {}

  static async start(behaviour: Behaviour = {}): Promise<TestSmtpServer> {
    let server: TestSmtpServer
    const smtp = new SMTPServer({
      authOptional: true,
      disabledCommands: ['STARTTLS'],
      disableReverseLookup: true,
      logger: false,
      onConnect(_, done) {
        server.connections++
        done()
      },
      onRcptTo({ address }, _, done) {
        done(refusal(behaviour.recipient?.(address) ?? null))
      },
      onData(stream, session, done) {
        const chunks: Buffer[] = []
        stream.on('data', (chunk: Buffer) => chunks.push(chunk))
        stream.on('end', async () => {
          server.mostInFlight = Math.max(server.mostInFlight, ++server.inFlight)
          const to = session.envelope.rcptTo[0].address
          const from = session.envelope.mailFrom ? session.envelope.mailFrom.address : ''
          const refused = refusal((await behaviour.mail?.(to)) ?? null)
          server.inFlight--
          if (!refused) server.taken.push(readMail(from, to, Buffer.concat(chunks).toString('utf8')))
          done(refused)
        })
      },
      ...behaviour.options,
    })
    // A client that is killed breaks its connection: nothing to report.
    smtp.on('error', () => {})
    smtp.listen(0, '127.0.0.1')
    await once(smtp.server, 'listening')
    server = new TestSmtpServer(smtp, (smtp.server.address() as AddressInfo).port)
    return server
  }

  get address(): SmtpServer {
    return { host: '127.0.0.1', port: this.port, secure: false }
  }

  /** Mails for one address. */
  to(address: string): TakenMail[] {
    return this.taken.filter((mail) => mail.to === address)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await new Promise<void>((done) => this.smtp.close(() => done()))
  }
}

function refusal(answer: readonly [code: number, text: string] | null): Error | null {
  return answer && Object.assign(new Error(answer[1]), { responseCode: answer[0] })
}

function readMail(from: string, to: string, raw: string): TakenMail {
  const [head, ...rest] = raw.split('\r\n\r\n')
  const headers = new Map(
    head
      .replace(/\r\n[ \t]/g, ' ')
      .split('\r\n')
      .map((line): [string, string] => {
        const colon = line.indexOf(':')
        return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()]
      }),
  )
  const body = rest.join('\r\n\r\n')
  const boundary = /boundary="([^"]+)"/.exec(head)?.[1]
  const parts = boundary === undefined ? [body] : body.split(`--${boundary}`)
  const part = parts.find((each) => each.includes('text/plain'))?.replace(/^[\s\S]*?\r\n\r\n/, '') ?? body
  return { from, to, headers, raw, text: unquoted(part) }
}

/** Undoes quoted-printable. */
function unquoted(text: string): string {
  const bytes = text
    .replace(/=\r\n/g, '')
    .replace(/=([0-9A-F]{2})/g, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16)))
  return Buffer.from(bytes, 'latin1').toString('utf8')
}
