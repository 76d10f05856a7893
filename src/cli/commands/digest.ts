// `mambakit digest`: mails the newest papers and results, to one address or to all subscribers.
import { type CliCommand, integerOption, UsageError } from '../command.js'
import { addMailOptions, type MailOptions } from '../mailOptions.js'

interface DigestOptions extends MailOptions {
  readonly to?: string
  readonly subscribers?: boolean
  readonly most: number
  readonly site?: string
  readonly connections: number
}

export const digest: CliCommand = {
  name: 'digest',
  summary: 'mail the newest papers and results',
  examples: [
    ['mambakit digest --to you@example.org --smtp smtp://localhost:25', 'to one address'],
    ['mambakit digest --subscribers --smtp smtps://user:password@mail.example.org', 'to all subscribers, each once'],
  ],
  configure(command) {
    command
      .option('--to <address>', 'mail the newest entries to this address')
      .option('--subscribers', 'mail what is new to all subscribers; run again, it goes on where it was stopped')
      .option('--most <number>', 'how many entries, with --to', integerOption('--most', 1), 10)
      .option('--site <url>', 'address of the page that entries link to, with --to')
      .option('--connections <number>', 'mails on their way at the same time', integerOption('--connections', 1), 8)
    addMailOptions(command).action(run)
  },
}

async function run(options: DigestOptions): Promise<void> {
  const { to, subscribers, smtp } = options
  if ((to === undefined) === (subscribers !== true))
    throw new UsageError('digest: expected one of --to ADDRESS and --subscribers')
  if (!smtp) throw new UsageError('digest: expected --smtp URL, or the variable MAMBAKIT_SMTP')
  await (to === undefined ? mailSubscribers(options) : mailOne(to, options))
}

async function mailOne(to: string, options: DigestOptions): Promise<void> {
  const [
    { mailSettings },
    { readEntries },
    { news },
    { composeDigest },
    { messageBytes },
    { SmtpSession, SmtpError },
    address,
  ] = await Promise.all([
    import('../mailSettings.js'),
    import('../../papers/entries.node.js'),
    import('../../papers/news.js'),
    import('../../papers/digest.js'),
    import('../../serve/mail/message.js'),
    import('../../serve/mail/smtp.js'),
    import('../../serve/mail/address.js'),
  ])
  const { server, from, listFile } = mailSettings(options)
  const recipient = address.mailAddress(to)
  const site = options.site?.replace(/\/?$/, '/')
  const message = composeDigest(news(await readEntries({ listFile })).slice(0, options.most), { site })
  const id = `${new Date().toISOString()} ${message.subject}`
  const bytes = await messageBytes({ from, to: recipient, ...message, id })
  const session = new SmtpSession(server!)
  const answer = await session.send(from, recipient, bytes)
  session.quit()
  if (!answer.taken)
    throw new SmtpError(
      `the server does not take a mail to ${recipient} (${answer.reason}); check the address, or ask later`,
    )
  process.stdout.write(`sent to ${recipient}: ${message.subject}\n`)
}

async function mailSubscribers(options: DigestOptions): Promise<void> {
  const [
    { mailSettings },
    { readEntries },
    { runDigest },
    { Subscribers },
    { installationSecret },
    { catchInterrupt },
  ] = await Promise.all([
    import('../mailSettings.js'),
    import('../../papers/entries.node.js'),
    import('../../serve/mail/runDigest.js'),
    import('../../serve/mail/subscribers.js'),
    import('../../serve/mail/tokens.js'),
    import('../interrupt.js'),
  ])
  const { server, from, subscribersFile, secretFile, listFile } = mailSettings(options)
  const entries = await readEntries({ listFile })
  const secret = await installationSecret(secretFile)
  const subscribers = await Subscribers.open(subscribersFile)
  using interrupt = catchInterrupt('stopping after the mails that are on their way')
  const report = await runDigest({
    subscribers,
    entries,
    secret,
    server: server!,
    from,
    connections: options.connections,
    signal: interrupt.signal,
    onProgress: (done, all) => process.stderr.isTTY && process.stderr.write(`\r${done} of ${all}`),
  })
  if (process.stderr.isTTY && report.sent > 0) process.stderr.write('\n')
  if (report.subject === null) {
    process.stdout.write('nothing new since the last digest; nobody was mailed\n')
    return
  }
  const { subject, resumed, sent, setAside, deferred, uncertain, done } = report
  const lines = [
    `${resumed ? 'went on with' : 'mailed'} '${subject}': ${sent} sent`,
    ...setAside.map(({ address, reason }) => `set aside: ${address} (${reason})`),
    ...deferred.map(({ address, reason }) => `put off: ${address} (${reason})`),
    ...uncertain.map((address) => `uncertain: ${address}, not mailed again; the server's log tells whether it was`),
    ...(done ? [] : ['not everyone has it yet; run the same command again to go on']),
  ]
  process.stdout.write(`${lines.join('\n')}\n`)
}
