// Generation and conversation as a user meets them: batches, stop strings, states kept by one process and continued by
// another, Ctrl-C, and one line for what is wrong.
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { openReference } from '../src/backend/reference/index.js'
import { moduleToWrite } from '../src/hub/module-state.js'
import { writeSafetensors } from '../src/hub/safetensors.node.js'
import { mambaDefaults, toOfficialConfig } from '../src/models/mamba-config.js'
import { MambaLM } from '../src/models/mamba-lm.js'

const bin = fileURLToPath(new URL('../../bin/mambakit.mjs', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'mambakit-generate-'))
after(() => rmSync(folder, { recursive: true }))
const inside = (...parts: string[]) => join(folder, ...parts)

function mambakit(args: string[], input: string | Uint8Array = '') {
  const { status, stdout, stderr } = spawnSync(process.execPath, [bin, ...args], { encoding: 'utf8', input })
  return { status, stdout, stderr }
}
function generate(...args: string[]) {
  const { status, stdout, stderr } = mambakit(['generate', inside('one'), ...args, '--json'])
  assert.equal(status, 0, stderr)
  return JSON.parse(stdout)
}
function assertRefused(args: string[], pattern: RegExp, input: string | Uint8Array = ''): void {
  const { status, stderr } = mambakit(args, input)
  assert.notEqual(status, 0, args.join(' '))
  assert.equal(stderr.trim().split('\n').length, 1, stderr)
  assert.match(stderr, pattern)
}

async function writeModel(name: string, seed: number, dModel = 24): Promise<void> {
  const backend = openReference()
  const config = { ...mambaDefaults, dModel, nLayer: 2, vocabSize: 256 }
  const model = new MambaLM(config).initialize({ seed, backend })
  mkdirSync(inside(name))
  writeFileSync(inside(name, 'config.json'), JSON.stringify(toOfficialConfig(config)))
  await writeSafetensors(inside(name, 'model.safetensors'), moduleToWrite(model))
  await backend.close()
}
before(async () => {
  await writeModel('one', 1)
  await writeModel('retrained', 2)
  await writeModel('wider', 1, 32)
  writeFileSync(inside('prompt.txt'), 'The whale\n')
  writeFileSync(inside('latin1.txt'), Buffer.from('na\xefve', 'latin1'))
})

test('several prompts give what each gives alone, from the command line, a file and standard input', () => {
  const options = [
    '--max-tokens',
    '20',
    '--seed',
    '4',
    '--min-p',
    '0.02',
    '--repetition-penalty',
    '1.2',
    '--logprobs',
    '2',
  ]
  const both = generate('--prompt', 'Call', '--prompt-file', inside('prompt.txt'), ...options)
  const { tokensPerSecond: _, ...call } = generate('--prompt', 'Call', ...options)
  assert.deepEqual(both[0], call)
  assert.equal(both[1].prompt, 'The whale')
  assert.equal(both[1].logprobs.length, both[1].tokens.length)
  const piped = mambakit(['generate', inside('one'), '--prompt', '-', ...options, '--json'], 'Call\n')
  assert.deepEqual(JSON.parse(piped.stdout).tokens, call.tokens)
  assert.match(mambakit(['generate', inside('one'), '--prompt', 'A', '--prompt', 'B']).stdout, /^A.*\n\nB/s)
})

test('a state kept by one process is continued by another as if nothing had been between', () => {
  const kept = inside('kept.state')
  const options = ['--max-tokens', '30', '--seed', '7', '--logprobs', '3']
  generate('--prompt', 'Call me Ishmael. ', '--max-tokens', '0', '--save-state', kept)
  const { tokensPerSecond: _, ...whole } = generate('--prompt', 'Call me Ishmael. ', ...options)
  const { tokensPerSecond: __, ...continued } = generate('--load-state', kept, ...options)
  assert.deepEqual({ ...continued, prompt: '' }, { ...whole, prompt: '' })
  // Again after generated text: written by one process, the rest by a second.
  const half = inside('half.state')
  const greedy = ['--temperature', '0', '--max-tokens']
  const first = generate('--load-state', kept, ...greedy, '11', '--save-state', half)
  const second = generate('--load-state', half, ...greedy, '9')
  assert.deepEqual([...first.tokens, ...second.tokens], generate('--load-state', kept, ...greedy, '20').tokens)
})

test('--stop ends the text before it', () => {
  const { text } = generate('--prompt', 'Call', '--max-tokens', '60')
  const stop = text.slice(10, 13)
  assert.equal(
    generate('--prompt', 'Call', '--max-tokens', '60', '--stop', stop).text,
    text.slice(0, text.indexOf(stop)),
  )
})

test('what cannot be generated from or continued is refused by one line', () => {
  const kept = inside('refused.state')
  generate('--prompt', 'Call', '--max-tokens', '0', '--save-state', kept)
  const from = (model: string, file = kept) => ['generate', inside(model), '--load-state', file]
  assertRefused(from('wider'), /refused\.state: the state is another model's: .*layers of 24.*layers of 32/)
  assertRefused(from('retrained'), /refused\.state: the state was made with other weights/)
  assertRefused(from('one', inside('one', 'model.safetensors')), /expected a state saved by mambakit/)
  assertRefused(from('one', inside('prompt.txt')), /prompt\.txt: .*is this a safetensors file/)
  assertRefused(from('one', inside('none.state')), /none\.state: no such file/)
  const one = ['generate', inside('one')]
  assertRefused(
    [...one, '--prompt-file', inside('latin1.txt')],
    /latin1\.txt: expected UTF-8 text, got invalid UTF-8 at byte 2/,
  )
  assertRefused(
    [...one, '--prompt', '-'],
    /standard input: expected UTF-8 text, got invalid UTF-8 at byte 1/,
    Buffer.from([65, 0xc3]),
  )
  assertRefused(
    [...one, '--prompt', 'a', '--prompt', 'b', '--save-state', kept],
    /--save-state: expected one prompt, got 2/,
  )
  assertRefused([...one, '--logprobs', '2'], /--logprobs: expected --json/)
  assertRefused([...one, '--stop', ''], /stop: expected strings of at least one character/)
  assertRefused([...one, '--min-p', '2'], /--min-p: expected a number between 0 and 1, got '2'/)
  assertRefused([...one, '--min-p-mode', 'odd'], /'odd' is invalid. Allowed choices are probability, mamba_ssm/)
  assertRefused(['chat', inside('one'), '--load', inside('none.state')], /none\.state: no such file/)
  assertRefused(
    ['chat', inside('one'), '--max-tokens', '1'],
    /standard input: expected UTF-8 text/,
    Buffer.from([65, 0xff, 10]),
  )
})

test('convert writes GGUF in float32 and in a quarter of the size, and refuses what is no model', () => {
  const convert = (...args: string[]) => mambakit(['convert', inside('one'), '--to', 'gguf', ...args])
  const [full, small] = [inside('one.gguf'), inside('one-q8_0.gguf')]
  assert.match(convert('--out', full).stdout, /one\.gguf: 0\.\d+ MB/)
  assert.equal(convert('--dtype', 'q8_0', '--out', small).status, 1, 'd_model 24 is no multiple of 32')
  const wider = ['convert', inside('wider'), '--to', 'gguf']
  assert.equal(mambakit([...wider, '--dtype', 'q8_0', '--out', small]).status, 0)
  assert.equal(mambakit([...wider, '--out', full]).status, 0)
  for (const file of [full, small]) assert.equal(readFileSync(file).toString('latin1', 0, 4), 'GGUF')
  assert.ok(statSync(small).size < statSync(full).size)
  assertRefused(
    ['convert', inside('one'), '--to', 'gguf', '--dtype', 'q8_0', '--out', small],
    /token_embd.weight: expected rows of a multiple of 32/,
  )
  assertRefused(['convert', inside('nothing'), '--to', 'gguf', '--out', full], /nothing: no such file or folder/)
  assertRefused(['convert', inside('one'), '--to', 'onnx', '--out', full], /'onnx' is invalid. Allowed choices are/)
})

test('chat keeps the conversation as a state: it saves, forgets and goes on', () => {
  const talk = inside('talk.state')
  const chat = (lines: string[], ...args: string[]) =>
    mambakit(['chat', inside('one'), '--temperature', '0', '--max-tokens', '12', ...args], `${lines.join('\n')}\n`)
  const first = chat(['Hello', `/save ${talk}`, 'How are you?', '/reset', 'Hello', `/load ${talk}`, 'How are you?'])
  assert.equal(first.status, 0, first.stderr)
  const answers = first.stdout.trimEnd().split('\n')
  assert.equal(answers.length % 2, 0)
  assert.deepEqual(answers.slice(answers.length / 2), answers.slice(0, answers.length / 2))
  const saved = /saved (\d+) tokens/.exec(first.stderr)!
  assert.match(first.stderr, new RegExp(`going on after ${saved[1]} tokens`))
  const second = chat(['How are you?'], '--load', talk)
  assert.ok(first.stdout.endsWith(second.stdout))
  const mistaken = chat(['/save', '/sing', '/save x', `/load ${inside('none')}`, '/help', '/quit', 'Hello'])
  assert.deepEqual([mistaken.status, mistaken.stdout], [0, ''])
  for (const line of [
    /\/save: expected a file/,
    /\/sing: no such command/,
    /nothing was said yet/,
    /none: no such file/,
    /\/reset +forget/,
  ])
    assert.match(mistaken.stderr, line)
})

test('Ctrl-C ends an answer, not the conversation', async () => {
  const child = spawn(process.execPath, [bin, 'chat', inside('one'), '--max-tokens', '1000000', '--temperature', '1.5'])
  let [stdout, stderr] = ['', '']
  child.stderr.on('data', (text) => (stderr += text))
  child.stdin.write('Hello\n')
  await once(
    child.stdout.on('data', (text) => (stdout += text)),
    'data',
  )
  child.kill('SIGINT')
  while (!stdout.includes('[stopped]')) await once(child.stdout, 'data')
  child.stdin.end(`/save ${inside('stopped.state')}\n`)
  const [code] = await once(child, 'close')
  assert.equal(code, 0)
  assert.match(stderr, /saved \d+ tokens/)
})
