// The command line as a user meets it: trains on a folder of text, is killed and resumed, generates, measures, describes,
// and says in one line what is wrong with bad input.
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { differences } from './compare.js'

const project = fileURLToPath(new URL('../..', import.meta.url))
const bin = join(project, 'bin/mambakit.mjs')
const folder = mkdtempSync(join(tmpdir(), 'mambakit-cli-'))
after(() => rmSync(folder, { recursive: true }))

const inside = (...parts: string[]) => join(folder, ...parts)

function mambakit(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [bin, ...args], { encoding: 'utf8' })
  return { status, stdout, stderr }
}

/** Expects failure with one line on stderr that matches every pattern, and no stack trace. */
function assertRefused(args: string[], ...patterns: RegExp[]): void {
  const { status, stderr } = mambakit(...args)
  assert.notEqual(status, 0, args.join(' '))
  assert.equal(stderr.trim().split('\n').length, 1, stderr)
  for (const pattern of patterns) assert.match(stderr, pattern)
}

const small = { d_model: 16, n_layer: 2, vocab_size: 256, pad_vocab_size_multiple: 1 }
const trainArguments = (out: string) => {
  const recipe = [
    '--steps',
    '40',
    '--batch',
    '2',
    '--length',
    '32',
    '--checkpoint-every',
    '5',
    '--evaluation-tokens',
    '500',
  ]
  return [
    'train',
    'lm',
    '--data',
    inside('notes'),
    '--model',
    inside('small.json'),
    '--out',
    inside(out),
    '--json',
    ...recipe,
  ]
}
const hashOf = (path: string) => createHash('sha256').update(readFileSync(path)).digest('hex')

before(() => {
  mkdirSync(inside('notes', 'deep'), { recursive: true })
  writeFileSync(inside('small.json'), JSON.stringify(small))
  const chapter = (n: number) =>
    Array.from({ length: 60 }, (_, i) => `Chapter ${n}, line ${i}: ${'wave '.repeat(i % 7)}and sea.\n`)
  writeFileSync(inside('notes', 'one.txt'), chapter(1).join(''))
  writeFileSync(inside('notes', 'deep', 'two.md'), chapter(2).join(''))
  writeFileSync(
    inside('notes', 'three.jsonl'),
    chapter(3)
      .map((text) => `${JSON.stringify({ text })}\n`)
      .join(''),
  )
})

test('a run killed by SIGKILL and resumed ends with the weights of an uninterrupted run', async () => {
  const whole = mambakit(...trainArguments('whole'))
  assert.equal(whole.status, 0, whole.stderr)
  const killed = spawn(process.execPath, [bin, ...trainArguments('killed')], { stdio: ['ignore', 'pipe', 'inherit'] })
  let seen = ''
  for await (const chunk of killed.stdout) {
    seen += chunk
    if (/"step":1[3-9]\b/.test(seen)) {
      killed.kill('SIGKILL')
      break
    }
  }
  await new Promise((done) => (killed.exitCode !== null || killed.signalCode ? done(null) : killed.on('exit', done)))
  const resumed = mambakit(...trainArguments('killed'), '--resume')
  assert.equal(resumed.status, 0, resumed.stderr)
  for (const file of ['last/model.safetensors', 'last/optimizer.safetensors', 'best/model.safetensors'])
    assert.equal(hashOf(inside('killed', file)), hashOf(inside('whole', file)), file)
})

test('Ctrl-C saves a checkpoint and ends with exit code 130; the run can be resumed', async () => {
  const child = spawn(process.execPath, [bin, ...trainArguments('stopped')], { stdio: ['ignore', 'pipe', 'pipe'] })
  let seen = ''
  child.stdout.on('data', (chunk) => {
    const before = seen
    seen += chunk
    if (/"step":2\b/.test(seen) && !/"step":2\b/.test(before)) child.kill('SIGINT')
  })
  const code = await new Promise((done) => child.on('exit', done))
  assert.equal(code, 130)
  const { step } = JSON.parse(readFileSync(inside('stopped', 'last', 'trainer.json'), 'utf8'))
  assert.ok(step >= 2 && step < 40, `stopped at ${step}`)
  assert.equal(mambakit(...trainArguments('stopped'), '--resume').status, 0)
})

test('a trained model generates the same text for the same seed, and measures text', () => {
  const sample = () => mambakit('generate', inside('whole'), '--prompt', 'Chapter', '--max-tokens', '40', '--seed', '3')
  const first = sample()
  assert.equal(first.status, 0, first.stderr)
  assert.match(first.stdout, /^Chapter/)
  assert.equal(sample().stdout, first.stdout)
  const measured = mambakit('eval', inside('whole'), '--data', inside('notes', 'one.txt'), '--json')
  assert.equal(measured.status, 0, measured.stderr)
  const { bitsPerToken, tokens } = JSON.parse(measured.stdout)
  assert.ok(bitsPerToken > 0.5 && bitsPerToken < 7, `${bitsPerToken}`)
  assert.equal(tokens, readFileSync(inside('notes', 'one.txt')).length - 1)
})

test('info describes a published size without loading it', () => {
  const { status, stdout } = mambakit('info', 'mamba-2.8b', '--json')
  assert.equal(status, 0)
  const facts = JSON.parse(stdout)
  assert.equal(facts.parameters, 2_768_345_600)
  assert.ok(Math.abs(facts.flopsPerToken / 1e9 - 5.57) < 0.01)
})

test('run answers a recorded case', async () => {
  const path = join(project, 'test/cases/mamba/lm-0')
  const out = inside('out.safetensors')
  const { status, stderr } = mambakit('run', path, '--in', join(path, 'inputs.safetensors'), '--out', out)
  assert.equal(status, 0, stderr)
  assert.deepEqual(await differences(out, join(path, 'outputs.safetensors')), [])
})

test('doctor names every device', () => {
  const { status, stdout } = mambakit('doctor', '--json')
  assert.equal(status, 0)
  const { devices } = JSON.parse(stdout) as { devices: { device: string; available: boolean }[] }
  assert.deepEqual(devices.map(({ device }) => device).sort(), ['native', 'wasm', 'webgpu'])
})

test('bad input gets one line that names file, field and what was expected', () => {
  const out = inside('refused')
  writeFileSync(inside('empty.txt'), '')
  writeFileSync(inside('binary.txt'), Buffer.from([72, 105, 0, 255, 1, 2]))
  writeFileSync(inside('absurd.json'), JSON.stringify({ ...small, d_model: -3 }))
  const base = ['train', 'lm', '--out', out, '--steps', '2']
  assertRefused([...base, '--data', inside('empty.txt')], /empty\.txt/, /empty/)
  assertRefused([...base, '--data', inside('binary.txt')], /binary\.txt/, /byte 2/)
  assertRefused([...base, '--data', inside('nowhere')], /nowhere/)
  assertRefused([...base, '--data', inside('notes'), '--model', 'mamba-9000'], /mamba-9000/, /mamba-130m/)
  assertRefused([...base, '--data', inside('notes'), '--model', inside('absurd.json')], /d_model/, /-3/)
  assertRefused([...base, '--data', inside('notes'), '--steps', 'many'], /--steps/, /many/)
  assertRefused([...base, '--data', inside('notes'), '--lenght', '4'], /--lenght/, /--length/)
  assertRefused(trainArguments('whole'), /holds a run already/, /--resume/)
  assertRefused(['generate', inside('nothing')], /nothing/, /no such file or folder/)
  assertRefused(['generate', inside('whole'), '--top-p', '2'], /--top-p/)
})

test('a damaged checkpoint is refused by tensor, and nothing is overwritten', () => {
  const weights = inside('whole', 'best', 'model.safetensors')
  const good = readFileSync(weights)
  writeFileSync(weights, good.subarray(0, good.length - 100))
  assertRefused(['generate', inside('whole')], /model\.safetensors/)
  const text = good.toString('latin1').replace('"shape":[64,16]', '"shape":[16,64]')
  assert.notEqual(text, good.toString('latin1'))
  writeFileSync(weights, Buffer.from(text, 'latin1'))
  assertRefused(['generate', inside('whole')], /in_proj\.weight/, /expected \[64,16\]/)
  writeFileSync(weights, good)
  assert.equal(mambakit('generate', inside('whole'), '--max-tokens', '2').status, 0)
})
