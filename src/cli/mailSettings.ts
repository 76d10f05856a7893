// What the options of commands that mail come to: the SMTP server, the sender, the files with subscribers and secret.
import { hostname } from 'node:os'
import { join } from 'node:path'
import { dataFolder, userListFile } from '../papers/userList.node.js'
import { mailAddress } from '../serve/mail/address.js'
import { type SmtpServer, smtpServer } from '../serve/mail/smtp.js'
import type { MailOptions } from './mailOptions.js'

/** Checks the options; `smtp` is null where none is given. */
export function mailSettings({ smtp, from, data, list }: MailOptions) {
  // An empty variable is as good as none.
  const server = smtp ? smtpServer(smtp) : null
  const folder = data ?? dataFolder()
  return {
    server,
    from: from === undefined ? defaultSender(server) : mailAddress(from),
    subscribersFile: join(folder, 'subscribers.jsonl'),
    secretFile: join(folder, 'secret'),
    listFile: list ?? userListFile(),
  }
}

/** The account's address where it is one: servers accept it. */
function defaultSender(server: SmtpServer | null): string {
  if (server?.user?.includes('@')) return mailAddress(server.user)
  return `mambakit@${hostname().replace(/[^A-Za-z0-9.-]/g, '') || 'localhost'}`
}
