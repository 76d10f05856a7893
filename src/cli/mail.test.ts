import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import type { SMTPServerOptions } from 'smtp-server'
import { TestSmtpServer } from '../../test/smtpServer.js'

const bin = fileURLToPath(new URL('../../../bin/mambakit.mjs', import.meta.url))
/** A key and a certificate of this machine's name, for tests alone. */
const tls = fileURLToPath(new URL('../../../test/tls', import.meta.url))

describe('papers and mail on the command line', () => {
  let folder = ''
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'mambakit-cli-mail-'))
  })
  after(() => rm(folder, { recursive: true }))

  const mambakit = (...args: string[]) => mambakitWith({}, ...args)
  const mambakitWith = (
    variables: NodeJS.ProcessEnv,
    ...args: string[]
  ): Promise<{ code: number; stdout: string; stderr: string }> =>
    new Promise((done) => {
      const env = { ...process.env, NO_COLOR: '1', XDG_DATA_HOME: folder, MAMBAKIT_SMTP: '', ...variables }
      execFile(process.execPath, [bin, ...args], { env }, (error, stdout, stderr) =>
        done({ code: Number(error?.code ?? 0), stdout, stderr }),
      )
    })

  test('a paper is added, and the digest to one address tells it with the newest of the 33', async () => {
    const source = join(folder, 'mine.json')
    await writeFile(
      source,
      JSON.stringify([{ title: 'My own paper', date: '2026-02-03', links: ['https://example.org/mine'] }]),
    )
    const added = await mambakit('papers', 'add', '--file', source)
    assert.equal(added.stdout, `${join(folder, 'mambakit', 'papers.json')}: 1 added, 0 updated, 1 in all\n`)
    await using server = await TestSmtpServer.start()
    const smtp = `smtp://127.0.0.1:${server.port}`
    const sent = await mambakit('digest', '--to', 'me@x.org', '--smtp', smtp, '--most', '60', '--from', 'papers@x.org')
    // How many results there are depends on results/.
    assert.equal(sent.code, 0)
    assert.match(sent.stdout, /^sent to me@x\.org: mambakit: \d+ papers( and \d+ results?)?\n$/)
    const [mail] = server.to('me@x.org')
    assert.equal(mail.headers.get('from'), 'papers@x.org')
    assert.match(mail.text, /My own paper[\s\S]*https:\/\/example\.org\/mine[\s\S]*Nemotron Elastic/)
    assert.match(mail.raw, /Content-Type: text\/html/)
  })

  test('a password and mail go encrypted, to a server whose certificate is trusted', async () => {
    const accounts: string[] = []
    const [key, cert] = ['key', 'cert'].map((part) => join(tls, `localhost.${part}.pem`))
    const encrypted: SMTPServerOptions = {
      key: readFileSync(key),
      cert: readFileSync(cert),
      authOptional: false,
      onAuth({ username, password }, { secure }, done) {
        accounts.push(`${username} ${password} ${secure ? 'encrypted' : 'in the open'}`)
        done(null, { user: username })
      },
    }
    const trusted = { NODE_EXTRA_CA_CERTS: cert }
    const servers: Record<string, SMTPServerOptions> = {
      smtps: { ...encrypted, secure: true },
      smtp: { ...encrypted, disabledCommands: [] },
    }
    for (const [protocol, options] of Object.entries(servers)) {
      await using server = await TestSmtpServer.start({ options })
      const digest = ['digest', '--to', 'me@x.org', '--most', '1', '--smtp']
      const smtp = `${protocol}://me:p%40ss@127.0.0.1:${server.port}`
      const refused = await mambakit(...digest, smtp)
      assert.deepEqual([refused.code, server.taken.length, accounts], [1, 0, []])
      assert.match(
        refused.stderr,
        /^mambakit: SMTP server 127\.0\.0\.1:\d+: no secure connection \([^\n]+\); check the host name, or set NODE_EXTRA_CA_CERTS to its certificate\n$/,
      )
      const sent = await mambakitWith(trusted, ...digest, smtp)
      assert.deepEqual([sent.code, sent.stderr, server.to('me@x.org').length], [0, '', 1])
      assert.deepEqual(accounts.splice(0), ['me p@ss encrypted'])
    }
  })

  test('what cannot be mailed is one line that says what to do', async () => {
    await using refusing = await TestSmtpServer.start({ recipient: () => [550, 'no such user'] })
    const smtp = `smtp://127.0.0.1:${refusing.port}`
    const wrong: [string[], number, RegExp][] = [
      [['digest'], 2, /expected one of --to ADDRESS and --subscribers/],
      [['digest', '--to', 'a@x.org', '--subscribers', '--smtp', smtp], 2, /expected one of/],
      [['digest', '--to', 'a@x.org'], 2, /expected --smtp URL, or the variable MAMBAKIT_SMTP/],
      [['digest', '--to', 'a@x.org\r\nBcc: b@x.org', '--smtp', smtp], 1, /expected a mail address/],
      [['digest', '--to', 'a@x.org', '--smtp', 'localhost'], 1, /expected an SMTP address such as smtp:/],
      [
        ['digest', '--to', 'a@x.org', '--smtp', smtp],
        1,
        /does not take a mail to a@x\.org \(550 no such user\); check the address/,
      ],
      [['digest', '--subscribers', '--smtp', smtp], 1, /nobody has subscribed and confirmed yet/],
      [['papers', 'add'], 2, /expected one of --arxiv-xml FILE and --file FILE/],
      [['papers', 'add', '--arxiv-xml', join(folder, 'none.xml')], 1, /none\.xml: no such file or folder/],
      [['studio', '--no-open', '--public-url', 'papers'], 2, /--public-url: expected an address such as/],
      [['studio', '--no-open', '--port', '70000'], 2, /--port: expected at most 65535/],
    ]
    for (const [args, code, message] of wrong) {
      const outcome = await mambakit(...args)
      assert.deepEqual([outcome.code, outcome.stdout], [code, ''], args.join(' '))
      assert.match(outcome.stderr, message)
      assert.equal(outcome.stderr.trimEnd().split('\n').length, 1)
    }
    assert.equal(refusing.taken.length, 0)
  })
})
