import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { appendFile, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import fc from 'fast-check'
import { TestSmtpServer } from '../../../test/smtpServer.js'
import { AddressError, mailAddress } from './address.js'
import { Journal } from './journal.js'
import { messageBytes } from './message.js'
import { type SmtpError, SmtpSession, smtpServer } from './smtp.js'
import { installationSecret, readToken, signedToken, TokenError } from './tokens.js'

let folder = ''
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mambakit-mail-'))
})
after(() => rm(folder, { recursive: true }))

describe('a mail address', () => {
  test('is taken in its plain form, with its domain in ASCII', () => {
    assert.equal(mailAddress("o'neil+x@Example.ORG"), "o'neil+x@example.org")
    assert.equal(mailAddress('me@bücher.example'), 'me@xn--bcher-kva.example')
    assert.equal(mailAddress('root@localhost'), 'root@localhost')
  })

  test('cannot carry a header, a command or a second recipient', () => {
    const hostile = [
      'a@b.org\r\nBcc: victim@example.org',
      'a@b.org\nx',
      'a\r\nRCPT TO:<v@x.org>@b.org',
      'a@b.org, c@d.org',
      'a@b.org>',
      '<a@b.org>',
      'A <a@b.org>',
      '"a b"@b.org',
      'a@[127.0.0.1]',
      'a@b.org\0',
      'a@b\torg',
      'a@b%0a.org',
      'a@-b.org',
      'a..b@c.org',
      '.a@c.org',
      'a@',
      '@b.org',
      'a',
      '',
      `${'a'.repeat(65)}@b.org`,
      `a@${'b'.repeat(64)}.org`,
      `a@${'b.'.repeat(130)}org`,
      42,
      null,
      { toString: () => 'a@b.org' },
    ]
    for (const text of hostile)
      assert.throws(
        () => mailAddress(text),
        (error: Error) => error instanceof AddressError && !/[\r\n]/.test(error.message),
      )
  })

  test('holds only harmless characters whatever comes in', () => {
    fc.assert(
      fc.property(fc.tuple(fc.string({ unit: 'binary' }), fc.string({ unit: 'grapheme' })), ([local, domain]) => {
        try {
          assert.match(mailAddress(`${local}@${domain}`), /^[\x21-\x7e]+@[a-z0-9.-]+$/)
        } catch (error) {
          assert.ok(error instanceof AddressError)
        }
      }),
      { numRuns: 2000 },
    )
  })
})

describe('a signed link', () => {
  const secret = Buffer.alloc(32, 7)
  const token = signedToken(secret, { purpose: 'confirm', address: 'a@b.org', nonce: 'n' })

  test('says what was signed', () => {
    assert.deepEqual(readToken(secret, token, 'confirm'), { purpose: 'confirm', address: 'a@b.org', nonce: 'n' })
  })

  test('is refused when it is altered, cut, signed by others or for something else', () => {
    const other = signedToken(Buffer.alloc(32, 8), { purpose: 'confirm', address: 'a@b.org', nonce: 'n' })
    const [body, signature] = token.split('.')
    const forgedBody = Buffer.from('["confirm","x@y.org","n"]').toString('base64url')
    for (const forged of [
      other,
      '',
      '.',
      body,
      `${body}.`,
      `${token}x`,
      `${token}.x`,
      token.slice(0, -1),
      `${forgedBody}.${signature}`,
    ])
      assert.throws(() => readToken(secret, forged, 'confirm'), TokenError, forged)
    assert.throws(() => readToken(secret, token, 'unsubscribe'), TokenError)
  })

  test('is signed with a secret that is made once and that others cannot read', async () => {
    const file = join(folder, 'made', 'secret')
    const [first, ...others] = await Promise.all([1, 2, 3].map(() => installationSecret(file).catch(() => null)))
    const again = await installationSecret(file)
    for (const secret of [first, ...others]) if (secret) assert.deepEqual(secret, again)
    assert.equal((await stat(file)).mode & 0o777, 0o600)
    await writeFile(file, 'short')
    await assert.rejects(installationSecret(file), /expected 64 hexadecimal digits; remove the file/)
  })
})

describe('the journal', () => {
  test('is the same for every process that has it open', async () => {
    const file = join(folder, 'shared.jsonl')
    const [a, b] = await Promise.all([Journal.open<{ n: number }>(file), Journal.open<{ n: number }>(file)])
    await Promise.all(Array.from({ length: 200 }, (_, n) => (n % 2 ? a : b).append({ n })))
    const [read, readByB, nothing] = await Promise.all([a.read(), b.read(), a.read()])
    assert.deepEqual(read, readByB)
    assert.deepEqual(nothing, [])
    assert.deepEqual(
      read.map(({ n }) => n).sort((x, y) => x - y),
      Array.from({ length: 200 }, (_, n) => n),
    )
    await Promise.all([a.close(), b.close()])
  })

  test('skips what a kill cut off, and goes on behind it', async () => {
    const file = join(folder, 'torn.jsonl')
    await writeFile(file, '{"n":1}\n{"n":2')
    const journal = await Journal.open<{ n: number }>(file)
    assert.deepEqual(await journal.read(), [{ n: 1 }])
    await journal.append({ n: 3 })
    assert.deepEqual(await journal.read(), [{ n: 3 }])
    await appendFile(file, 'null\n7\n{"n":4}\n')
    assert.deepEqual(await journal.read(), [{ n: 4 }])
    await journal.close()
  })

  test('says so when the disk is full, and takes records again when it is not', {
    skip: process.platform === 'win32',
  }, async () => {
    const file = join(folder, 'full.jsonl')
    const script = `
      import { Journal } from ${JSON.stringify(new URL('./journal.js', import.meta.url).href)}
      const journal = await Journal.open(process.argv[1])
      await journal.append({ n: 1 })
      await journal.append({ text: 'x'.repeat(4000) }).catch((error) => console.log(error.name, error.message))
      await journal.append({ n: 2 }).catch((error) => console.log('again'))`
    // The limit on file sizes stands for the end of the disk: 2 blocks of 1 KiB.
    const shell = `ulimit -f 2; trap '' XFSZ; exec "$0" --input-type=module -e "$1" "$2"`
    const output = await new Promise<string>((done) =>
      execFile('bash', ['-c', shell, process.execPath, script, file], (_, stdout, stderr) => done(stdout + stderr)),
    )
    assert.match(
      output,
      /^JournalError .*full\.jsonl: cannot be written to, the disk is full; free some space, then try again/,
    )
    const journal = await Journal.open<{ n: number }>(file)
    await journal.append({ n: 3 })
    assert.deepEqual(await journal.read(), [{ n: 1 }, { n: 3 }])
    assert.ok((await readFile(file, 'utf8')).length > 2000)
    await journal.close()
  })
})

describe('an SMTP address', () => {
  test('names server, port and account', () => {
    assert.deepEqual(smtpServer('smtp://localhost:2525'), { host: 'localhost', port: 2525, secure: false })
    assert.deepEqual(smtpServer('smtps://me%40x.org:p%3Aw@mail.x.org'), {
      host: 'mail.x.org',
      port: 465,
      secure: true,
      user: 'me@x.org',
      password: 'p:w',
    })
    assert.equal(smtpServer('smtp://[::1]').host, '::1')
    for (const text of ['', 'mail.example.org', 'http://x', 'smtp://', 'smtp://x/path', 'smtp://x:y@h%'])
      assert.throws(() => smtpServer(text), /expected an SMTP address such as/)
  })
})

describe('mail over SMTP', () => {
  const message = (to: string) =>
    messageBytes({
      from: 'me@here.org',
      to,
      subject: 'Grüße',
      text: 'Line one\n.\nend',
      html: '<p>x</p>',
      id: '1',
      unsubscribe: `https://x.org/${'u'.repeat(300)}`,
    })
  const quick = { connect: 500, answer: 500 }

  test('arrives whole, with headers that mail programs need', async () => {
    await using server = await TestSmtpServer.start()
    const session = new SmtpSession(server.address)
    for (const to of ['a@x.org', 'b@x.org', 'c@x.org'])
      assert.deepEqual(await session.send('me@here.org', to, await message(to)), { taken: true })
    session.quit()
    assert.equal(server.connections, 1)
    const [mail] = server.to('b@x.org')
    assert.equal(mail.headers.get('to'), 'b@x.org')
    assert.equal(mail.headers.get('list-unsubscribe-post'), 'List-Unsubscribe=One-Click')
    assert.equal(mail.headers.get('list-unsubscribe'), `<https://x.org/${'u'.repeat(300)}>`)
    assert.match(mail.headers.get('message-id')!, /^<[0-9a-f]{40}@here\.org>$/)
    assert.equal(mail.text.replace(/\r/g, '').trimEnd(), 'Line one\n.\nend')
    assert.match(mail.raw, /text\/html/)
  })

  test('a refused recipient is an answer, and the connection goes on', async () => {
    await using server = await TestSmtpServer.start({
      recipient: (to) =>
        to.startsWith('gone') ? [550, 'no such user'] : to.startsWith('later') ? [451, 'greylisted'] : null,
      mail: async (to) => (to.startsWith('spam') ? [554, 'no spam'] : null),
    })
    const session = new SmtpSession(server.address)
    const send = async (to: string) => session.send('me@here.org', to, await message(to))
    assert.deepEqual(await send('gone@x.org'), { taken: false, refused: 'address', reason: '550 no such user' })
    assert.deepEqual(await send('later@x.org'), { taken: false, refused: 'later', reason: '451 greylisted' })
    assert.deepEqual(await send('spam@x.org'), { taken: false, refused: 'message', reason: '554 no spam' })
    assert.deepEqual(await send('fine@x.org'), { taken: true })
    session.quit()
    assert.deepEqual([server.connections, server.taken.length], [1, 1])
  })

  test('a server that hung up while nothing was going on is connected to again', async () => {
    await using server = await TestSmtpServer.start({ options: { socketTimeout: 150 } })
    const session = new SmtpSession(server.address)
    await session.send('me@here.org', 'a@x.org', await message('a@x.org'))
    await new Promise((wait) => setTimeout(wait, 400))
    assert.deepEqual(await session.send('me@here.org', 'b@x.org', await message('b@x.org')), { taken: true })
    session.quit()
    assert.deepEqual([server.connections, server.taken.length], [2, 2])
  })

  const failing = async (address: { host: string; port: number }, more = {}): Promise<SmtpError> => {
    const session = new SmtpSession({ secure: false, ...address, ...more }, quick)
    return session.send('me@here.org', 'a@x.org', await message('a@x.org')).then(
      () => assert.fail('it was sent'),
      (error) => error,
    )
  }

  test('a server that is down, silent or unknown is named with what to do', async () => {
    const closed = net.createServer().listen(0)
    const { port } = closed.address() as net.AddressInfo
    await new Promise((done) => closed.close(done))
    const down = await failing({ host: '127.0.0.1', port })
    assert.match(
      down.message,
      /^SMTP server 127\.0\.0\.1:\d+: nobody answers there; start the server or check the port$/,
    )
    assert.equal(down.uncertain, false)
    const silent = net.createServer().listen(0)
    const slow = await failing({ host: '127.0.0.1', port: (silent.address() as net.AddressInfo).port })
    assert.match(slow.message, /did not answer in time .*; try again later$/)
    silent.close()
    assert.match(
      (await failing({ host: 'no-such-host.invalid', port: 25 })).message,
      /no such host; check the SMTP address/,
    )
  })

  test('a wrong password is said without showing it', async () => {
    await using server = await TestSmtpServer.start({
      options: {
        onAuth: (_, __, done) => done(Object.assign(new Error('bad credentials'), { responseCode: 535 })),
        allowInsecureAuth: true,
      },
    })
    const { message } = await failing(server.address, { user: 'me', password: 's3cret' })
    assert.match(message, /user or password was refused .*; correct them in the SMTP address/)
    assert.doesNotMatch(message, /s3cret/)
  })

  test('a refused sender is said with what to do', async () => {
    await using server = await TestSmtpServer.start({
      options: { onMailFrom: (_, __, done) => done(Object.assign(new Error('not you'), { responseCode: 550 })) },
    })
    assert.match(
      (await failing(server.address)).message,
      /refuses the sender \(550 not you\); give one that it accepts with --from/,
    )
  })

  test('no answer after the whole mail is uncertain, before it is not', async () => {
    await using server = await TestSmtpServer.start({ mail: () => new Promise((wait) => setTimeout(wait, 1500, null)) })
    assert.equal((await failing(server.address)).uncertain, true)
    const before = new SmtpSession(server.address, quick)
    const hangUp = async () => {
      for (const connection of server.smtp.connections) connection.close()
      await new Promise((wait) => setTimeout(wait, 100))
    }
    const error = await before.send('me@here.org', 'b@x.org', await message('b@x.org'), hangUp).catch((error) => error)
    assert.equal(error.uncertain, false)
  })

  test('nothing is taken when what has to happen before fails', async () => {
    await using server = await TestSmtpServer.start()
    const session = new SmtpSession(server.address)
    const failure = new (class extends TokenError {})('disk full')
    await assert.rejects(
      session.send('me@here.org', 'a@x.org', await message('a@x.org'), () => Promise.reject(failure)),
      /disk full/,
    )
    assert.deepEqual(await session.send('me@here.org', 'b@x.org', await message('b@x.org')), { taken: true })
    session.quit()
    assert.deepEqual(
      server.taken.map(({ to }) => to),
      ['b@x.org'],
    )
  })
})
