import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { CommanderError } from 'commander'
import { MambakitError } from '../errors.js'
import { papers } from '../papers/index.js'
import { integerOption, numberOption, UsageError } from './command.js'
import { commands } from './commands/index.js'
import { exitCodeOf, explainError } from './errors.js'

const bin = fileURLToPath(new URL('../../../bin/mambakit.mjs', import.meta.url))

interface Outcome {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

const mambakit = (...args: string[]): Promise<Outcome> =>
  new Promise((done) => {
    execFile(process.execPath, [bin, ...args], { env: { ...process.env, NO_COLOR: '1' } }, (error, stdout, stderr) =>
      done({ code: Number(error?.code ?? 0), stdout, stderr }),
    )
  })

describe('the command line', () => {
  test('lists every command with help, and each has examples that name it', async () => {
    const help = await mambakit('--help')
    assert.equal(help.code, 0)
    const shown = help.stdout.replace(/\s+/g, ' ')
    for (const { name, summary, examples } of commands) {
      assert.ok(shown.includes(` ${name} `) && shown.includes(summary), name)
      assert.ok(examples.length > 0 && examples.every(([line]) => line.includes(`mambakit ${name}`)), name)
    }
    const papersHelp = await mambakit('papers', '--help')
    assert.equal(papersHelp.code, 0)
    assert.match(papersHelp.stdout, /Examples:\n {2}mambakit papers +the 33 papers/)
    assert.match(papersHelp.stdout, /--device <name>/)
  })

  test('answers wrong usage with one line, a suggestion and exit code 2', async () => {
    const wrong: [string[], RegExp][] = [
      [['paper'], /^mambakit: unknown command 'paper' \(Did you mean papers\?\); see mambakit --help\n$/],
      [['papers', '--jsn'], /^mambakit: unknown option '--jsn' \(Did you mean --json\?\); see mambakit --help\n$/],
      [
        ['papers', '--device', 'gpu'],
        /^mambakit: .*'gpu' is invalid\. Allowed choices are native, wasm, webgpu, cpu; see/,
      ],
      [['papers', 'extra'], /^mambakit: too many arguments for 'papers'/],
    ]
    for (const [args, message] of wrong) {
      const { code, stdout, stderr } = await mambakit(...args)
      assert.deepEqual([code, stdout], [2, ''])
      assert.match(stderr, message)
    }
    const bare = await mambakit()
    assert.equal(bare.code, 2)
    assert.match(bare.stderr, /Usage: mambakit/)
  })

  test('papers lists all 33 with their states, as a table and as JSON', async () => {
    const [table, json] = await Promise.all([mambakit('papers'), mambakit('papers', '--json')])
    const rows = JSON.parse(json.stdout)
    assert.deepEqual(
      rows.map(({ slug }: { slug: string }) => slug),
      papers.map(({ slug }) => slug),
    )
    const states = ['planned', 'implemented', 'reproduced', 'not reproduced', 'undecided']
    const lines = table.stdout.trimEnd().split('\n')
    assert.equal(lines.length, 34)
    rows.forEach((row: Record<string, unknown>, i: number) => {
      assert.ok(states.includes(row.state as string))
      for (const field of ['number', 'slug', 'state', 'domain', 'title'])
        assert.ok(lines[i + 1].includes(`${row[field]}`))
    })
  })

  test('doctor describes this machine, and says of every device what it is or why it is missing', async () => {
    const { code, stdout } = await mambakit('doctor', '--json')
    assert.equal(code, 0)
    const { machine, devices } = JSON.parse(stdout)
    assert.equal(machine.node, process.version)
    assert.ok(devices.length > 0)
    for (const { device, available, detail } of devices) {
      assert.equal(typeof available, 'boolean')
      assert.ok(detail.length > 0, device)
    }
    const text = await mambakit('doctor')
    for (const { device, detail } of devices) assert.ok(text.stdout.includes(device) && text.stdout.includes(detail))
  })

  test('stays quiet when its reader leaves', async () => {
    const child = spawn('bash', ['-c', `"${process.execPath}" "${bin}" papers --json | true; exit \${PIPESTATUS[0]}`])
    let stderr = ''
    child.stderr.on('data', (text) => (stderr += text))
    const [code] = await once(child, 'close')
    assert.deepEqual([code, stderr], [0, ''])
  })
})

describe('errors on the command line', () => {
  const system = (code: string, path?: string) =>
    Object.assign(new Error(`${code}: long text`), { code, path, syscall: 'open' })

  test('are one line that says what to do, and the stack only on demand', () => {
    const lines: [unknown, string][] = [
      [new MambakitError('a.txt: expected text,\n  got nothing'), 'a.txt: expected text, got nothing'],
      [system('ENOENT', 'runs/x'), 'runs/x: no such file or folder'],
      [system('EACCES', '/root/x'), '/root/x: permission denied'],
      [system('ENOSPC'), 'the disk is full; free some space or choose another folder (open)'],
      [new TypeError('x is not a function'), 'unexpected error: x is not a function; --verbose shows where'],
      ['thrown text', 'unexpected error: thrown text; --verbose shows more'],
      [new DOMException('This operation was aborted', 'AbortError'), 'interrupted'],
    ]
    for (const [error, expected] of lines) assert.equal(explainError(error, false), expected)
    assert.match(explainError(new MambakitError('why'), true), /^MambakitError: why\n +at /)
  })

  test('end in exit code 1, wrong usage in 2, an interruption in 130', () => {
    assert.equal(exitCodeOf(new MambakitError('x')), 1)
    assert.equal(exitCodeOf(new TypeError('x')), 1)
    assert.equal(exitCodeOf(new UsageError('x')), 2)
    assert.equal(exitCodeOf(new CommanderError(1, 'commander.unknownOption', 'x')), 2)
    assert.equal(exitCodeOf(new CommanderError(0, 'commander.helpDisplayed', 'x')), 0)
    assert.equal(exitCodeOf(new DOMException('x', 'AbortError')), 130)
  })

  test('name an option whose number is wrong', () => {
    assert.equal(integerOption('--steps', 1)('20'), 20)
    for (const text of ['0', '1.5', 'ten', '', ' ', '1e99']) {
      assert.throws(
        () => integerOption('--steps', 1)(text),
        /^UsageError: --steps: expected an integer of at least 1, got '/,
      )
    }
    assert.equal(numberOption('--top-p', 0, 1)('0.9'), 0.9)
    assert.throws(() => numberOption('--top-p', 0, 1)('1.1'), /--top-p: expected a number between 0 and 1, got '1.1'/)
    assert.throws(() => numberOption('--lr', 0)('NaN'), /--lr: expected a number of at least 0, got 'NaN'/)
  })
})

describe('an interruption', () => {
  const script = `
    import { catchInterrupt } from ${JSON.stringify(new URL('./interrupt.js', import.meta.url).href)}
    const interrupt = catchInterrupt('saving')
    interrupt.signal.addEventListener('abort', () => { if (process.argv[1] === 'save') { console.log('saved'); process.exit(0) } })
    setInterval(() => {}, 1000)
    console.log('ready')`
  const start = async (mode: string) => {
    const child = spawn(process.execPath, ['--input-type=module', '-e', script, mode])
    let output = ''
    child.stderr.on('data', (text) => (output += text))
    await once(child.stdout, 'data')
    child.stdout.on('data', (text) => (output += text))
    return { child, output: () => output }
  }

  test('lets the command save and stop', async () => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      const { child, output } = await start('save')
      child.kill(signal)
      const [code] = await once(child, 'close')
      assert.equal(code, 0)
      assert.match(output(), /saving/)
      assert.match(output(), /saved/)
    }
  })

  test('kills at the second time', async () => {
    const { child } = await start('hang')
    child.kill('SIGINT')
    await once(child.stderr, 'data')
    child.kill('SIGINT')
    const [, signal] = await once(child, 'close')
    assert.equal(signal, 'SIGINT')
  })
})
