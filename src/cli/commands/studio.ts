// `mambakit studio`: serves the web studio on this machine and opens it.
import { spawn } from 'node:child_process'
import { type CliCommand, integerOption, UsageError } from '../command.js'
import { addMailOptions, type MailOptions } from '../mailOptions.js'

interface StudioOptions extends MailOptions {
  readonly port?: number
  readonly host: string
  readonly open: boolean
  readonly publicUrl?: string
  readonly trustProxy?: boolean
}

const usualPort = 7433

export const studio: CliCommand = {
  name: 'studio',
  summary: 'serve the papers page on this machine and open it',
  examples: [
    ['mambakit studio', 'open the papers page'],
    ['mambakit studio --port 8080 --no-open', 'serve it on a port of your choice'],
    ['mambakit studio --smtp smtps://user:password@mail.example.org', 'with a box to subscribe to digests'],
  ],
  configure(command) {
    command
      .option('--port <number>', `port to listen on; ${usualPort}, or a free one, by default`, integerOption('--port'))
      .option('--host <address>', 'address to listen on', '127.0.0.1')
      .option('--no-open', 'do not open a browser')
      .option('--public-url <url>', 'address under which readers reach the page, for the links in mails')
      .option('--trust-proxy', 'take who asks from X-Forwarded-For, which a proxy in front has to set')
    addMailOptions(command).action(run)
  },
}

async function run(options: StudioOptions): Promise<void> {
  const { port, host, open, publicUrl, trustProxy } = options
  if (port !== undefined && port > 65535) throw new UsageError(`--port: expected at most 65535, got ${port}`)
  const [{ builtPages, studioApp }, { listen }, { mailSettings }, { readEntries }, { catchInterrupt }, { Hono }] =
    await Promise.all([
      import('../../serve/studio/app.js'),
      import('../../serve/studio/listen.js'),
      import('../mailSettings.js'),
      import('../../papers/entries.node.js'),
      import('../interrupt.js'),
      import('hono'),
    ])
  const settings = mailSettings(options)
  const { listFile } = settings
  const pages = builtPages()
  // A list that cannot be read is said now, not when the page is opened.
  await readEntries({ listFile })
  // The app has to know its address, which is known when the port is: requests wait for it.
  let app: Awaited<ReturnType<typeof studioApp>> | undefined
  const outer = new Hono()
  outer.all('*', (c) => app?.fetch(c.req.raw, c.env) ?? c.text('starting', 503))
  const listening = await listen(outer, host, port ?? usualPort, port === undefined)
  const address = `http://${host.includes(':') ? `[${host}]` : host === '0.0.0.0' ? 'localhost' : host}:${listening.port}/`
  const site = publicUrl === undefined ? address : siteAddress(publicUrl)
  const subscription = settings.server && (await openSubscription(settings, site))
  app = await studioApp({
    pages,
    entries: () => readEntries({ listFile }),
    site,
    subscription: subscription ?? undefined,
    trustProxy,
  })
  process.stdout.write(`${address}\n`)
  using interrupt = catchInterrupt('stopping')
  if (open && process.stdout.isTTY) openBrowser(address)
  await new Promise((stop) => interrupt.signal.addEventListener('abort', stop, { once: true }))
  await listening.close()
}

async function openSubscription(
  settings: ReturnType<typeof import('../mailSettings.js')['mailSettings']>,
  site: string,
) {
  const [{ Subscription }, { Subscribers }, { installationSecret }] = await Promise.all([
    import('../../serve/studio/subscription.js'),
    import('../../serve/mail/subscribers.js'),
    import('../../serve/mail/tokens.js'),
  ])
  const { server, from, subscribersFile, secretFile } = settings
  const secret = await installationSecret(secretFile)
  const subscribers = await Subscribers.open(subscribersFile)
  return new Subscription({ server: server!, from, secret, subscribers }, site)
}

function siteAddress(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : null
  if (!url || !/^https?:$/.test(url.protocol) || url.search !== '' || url.hash !== '')
    throw new UsageError(`--public-url: expected an address such as https://example.org/papers/, got '${text}'`)
  return url.href.replace(/\/?$/, '/')
}

/** Opens the address in the user's browser; where there is none, the printed address has to do. */
function openBrowser(address: string): void {
  const [command, ...args] =
    process.platform === 'darwin' ? ['open'] : process.platform === 'win32' ? ['cmd', '/c', 'start', ''] : ['xdg-open']
  const child = spawn(command, [...args, address], { stdio: 'ignore', detached: true })
  child.on('error', () => {})
  child.unref()
}
