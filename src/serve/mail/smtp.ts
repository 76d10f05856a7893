// Mail to an SMTP server over connections that are used again and again. It tells apart what has to be told apart so that
// nothing is lost or sent twice: the server is not there, the server refuses this recipient, and nobody knows.
import { Readable } from 'node:stream'
import SMTPConnection from 'nodemailer/lib/smtp-connection'
import { MambakitError } from '../../errors.js'

export interface SmtpServer {
  readonly host: string
  readonly port: number
  /** TLS from the first byte. */
  readonly secure: boolean
  readonly user?: string
  readonly password?: string
}

/** Milliseconds; replaceable for tests. */
export interface SmtpTimeouts {
  readonly connect: number
  /** Of silence in the middle of something. */
  readonly answer: number
}

const defaultTimeouts: SmtpTimeouts = { connect: 15_000, answer: 60_000 }

/** Mail cannot be sent at all, or not by this server as it is. */
export class SmtpError extends MambakitError {
  override name = 'SmtpError'
  constructor(
    message: string,
    /** True where the server may or may not have taken the mail that was on its way. */
    readonly uncertain = false,
  ) {
    super(message)
  }
}

export type Answer =
  | { readonly taken: true }
  | {
      readonly taken: false
      /** What the server said. */
      readonly reason: string
      /** `address`: there is no such box. `message`: not this mail. `later`: not now. */
      readonly refused: 'address' | 'message' | 'later'
    }

/** smtp://user:password@host:587 or smtps://...; special characters of user and password percent-encoded. */
export function smtpServer(text: string): SmtpServer {
  const expected = new SmtpError(
    'expected an SMTP address such as smtp://mail.example.org:587 or smtps://user:password@mail.example.org',
  )
  if (!URL.canParse(text)) throw expected
  const url = new URL(text)
  const secure = url.protocol === 'smtps:'
  if (
    (!secure && url.protocol !== 'smtp:') ||
    !/^[\w.:[\]-]+$/.test(url.hostname) ||
    (url.pathname !== '' && url.pathname !== '/')
  )
    throw expected
  try {
    return {
      host: url.hostname.replace(/^\[|\]$/g, ''),
      port: url.port === '' ? (secure ? 465 : 587) : Number(url.port),
      secure,
      ...(url.username === ''
        ? {}
        : { user: decodeURIComponent(url.username), password: decodeURIComponent(url.password) }),
    }
  } catch {
    throw expected
  }
}

const isLoopback = (host: string) => host === 'localhost' || host === '::1' || /^127\./.test(host)

/** One conversation with a server. Sends one mail at a time and connects again where the server has hung up. */
export class SmtpSession {
  #connection: SMTPConnection | null = null

  constructor(
    readonly server: SmtpServer,
    readonly timeouts: SmtpTimeouts = defaultTimeouts,
  ) {}

  /**
   * Sends `message` (whole, CRLF lines) from one address to one other. `beforeLast` runs when all but the last bytes are
   * on their way: until it resolves the server cannot take the mail, afterwards it can. Throws SmtpError.
   */
  async send(from: string, to: string, message: Buffer, beforeLast?: () => Promise<void>): Promise<Answer> {
    let canBeTaken = false
    let preparing = Promise.resolve()
    const body = async function* () {
      yield message.subarray(0, -2)
      preparing = beforeLast?.() ?? preparing
      await preparing
      canBeTaken = true
      yield message.subarray(-2)
    }
    const used = this.#connection !== null
    try {
      const connection = (this.#connection ??= await this.#connect())
      const answer = await deliver(connection, { from, to, size: message.length }, body)
      // After a refusal RSET brings both sides back to the start of a mail.
      if (!answer.taken)
        await new Promise<unknown>((done) => connection.reset(done)).then((failed) => failed && this.close())
      return answer
    } catch (error) {
      const uncertain = canBeTaken
      this.close()
      // What was begun before the connection broke is not left running behind the caller's back.
      await preparing.catch(() => {})
      // An idle connection may have been closed by the server meanwhile: that is no fault of it.
      if (used && !uncertain && isLost(error)) return this.send(from, to, message, beforeLast)
      if (error instanceof MambakitError) throw error
      throw new SmtpError(explain(error as SmtpFailure, this.server), uncertain)
    }
  }

  close(): void {
    this.#connection?.close()
    this.#connection = null
  }

  /** Says goodbye, where there is a connection. */
  quit(): void {
    this.#connection?.quit()
    this.#connection = null
  }

  async #connect(): Promise<SMTPConnection> {
    const { host, port, secure, user, password } = this.server
    const connection = new SMTPConnection({
      host,
      port,
      secure,
      // A password goes over the wire of this machine only, or encrypted.
      requireTLS: user !== undefined && !secure && !isLoopback(host),
      connectionTimeout: this.timeouts.connect,
      dnsTimeout: this.timeouts.connect,
      greetingTimeout: this.timeouts.answer,
      socketTimeout: this.timeouts.answer,
    })
    try {
      await new Promise<void>((done, fail) => {
        connection.once('error', fail)
        connection.connect((error) => (error ? fail(error) : done()))
      })
      // Without a listener an error of an idle connection would end the process.
      connection.on('error', () => {
        if (this.#connection === connection) this.#connection = null
      })
      if (user !== undefined)
        await new Promise<void>((done, fail) =>
          connection.login({ credentials: { user, pass: password ?? '' } }, (error) => (error ? fail(error) : done())),
        )
    } catch (error) {
      connection.close()
      throw error
    }
    return connection
  }
}

interface SmtpFailure extends Error {
  readonly code?: string
  readonly command?: string
  readonly response?: string
  readonly responseCode?: number
}

/** Runs the conversation for one mail. Throws where the server gives no answer, or none that is about this mail. */
async function deliver(
  connection: SMTPConnection,
  envelope: { readonly from: string; readonly to: string; readonly size: number },
  body: () => AsyncGenerator<Buffer>,
): Promise<Answer> {
  let lost: (error?: Error) => void = () => {}
  try {
    await new Promise<void>((done, fail) => {
      lost = (error) => fail(error ?? Object.assign(new Error('connection closed'), { code: 'ECONNECTION' }))
      connection.on('error', lost).on('end', lost)
      const { from, to, size } = envelope
      connection.send({ from, to: [to], size }, Readable.from(body()), (error) => (error ? fail(error) : done()))
    })
    return { taken: true }
  } catch (error) {
    const { responseCode, response, command, code } = error as SmtpFailure
    // 421 announces that the server hangs up; anything without a code is no answer at all.
    if (!responseCode || responseCode === 421 || !response) throw error
    if (command === 'MAIL FROM' && responseCode >= 500) throw error
    const refused = responseCode < 500 ? 'later' : code === 'EENVELOPE' ? 'address' : 'message'
    return { taken: false, reason: response.split('\n')[0].slice(0, 200), refused }
  } finally {
    connection.off('error', lost).off('end', lost)
  }
}

function isLost(error: unknown): boolean {
  const { code, responseCode } = error as SmtpFailure
  return responseCode === 421 || ['ECONNECTION', 'ESOCKET', 'EPIPE', 'ECONNRESET'].includes(code ?? '')
}

/** What happened and what to do, without the password. */
function explain(error: SmtpFailure, { host, port }: SmtpServer): string {
  const where = `SMTP server ${host}:${port}`
  const { code, response, message, command } = error
  const said = (response ?? message).split('\n')[0].slice(0, 200)
  if (code === 'EAUTH') return `${where}: user or password was refused (${said}); correct them in the SMTP address`
  if (code === 'ETLS' || /certificate/i.test(message))
    return `${where}: no secure connection (${said}); check the host name, or set NODE_EXTRA_CA_CERTS to its certificate`
  if (code === 'ETIMEDOUT') return `${where}: did not answer in time (${message}); try again later`
  if (code === 'EDNS' || code === 'ENOTFOUND' || /ENOTFOUND|EAI_AGAIN/.test(message))
    return `${where}: no such host; check the SMTP address`
  if (/ECONNREFUSED/.test(message)) return `${where}: nobody answers there; start the server or check the port`
  if (command === 'MAIL FROM') return `${where}: refuses the sender (${said}); give one that it accepts with --from`
  return `${where}: the connection failed (${said}); try again later`
}
