// Puts a mail together: headers, text and HTML, as the bytes that go to the server.
import { createHash } from 'node:crypto'
import MailComposer from 'nodemailer/lib/mail-composer'

export interface Mail {
  readonly from: string
  readonly to: string
  readonly subject: string
  readonly text: string
  readonly html: string
  /** The same id for the same mail: what was sent twice after all is shown once. */
  readonly id: string
  /** Address that unsubscribes by POST (RFC 8058) and shows a button otherwise. */
  readonly unsubscribe?: string
}

export async function messageBytes({ from, to, subject, text, html, id, unsubscribe }: Mail): Promise<Buffer> {
  const message = new MailComposer({
    from,
    to: { name: '', address: to },
    subject,
    text,
    html,
    messageId: `<${createHash('sha256').update(`${id} ${to}`).digest('hex').slice(0, 40)}@${from.split('@').at(-1)}>`,
    headers: [
      { key: 'Auto-Submitted', value: 'auto-generated' },
      ...(unsubscribe
        ? [
            // Long addresses must not be folded: mail providers read the header as it stands.
            { key: 'List-Unsubscribe', value: { prepared: true, foldLines: false, value: `<${unsubscribe}>` } },
            { key: 'List-Unsubscribe-Post', value: 'List-Unsubscribe=One-Click' },
          ]
        : []),
    ],
    disableFileAccess: true,
    disableUrlAccess: true,
    newline: '\r\n',
  })
  const bytes = await message.compile().build()
  return bytes.subarray(-2).equals(lineEnd) ? bytes : Buffer.concat([bytes, lineEnd])
}

const lineEnd = Buffer.from('\r\n')
