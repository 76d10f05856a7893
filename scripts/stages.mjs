// The stages of `npm test` and `npm run test:slow`, and the tools they are made of. A stage runs and gives its outcomes,
// one a check or test; to add one, add it to an array below.
import { spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { gpuEnvironment, root } from './setup.mjs'
import { nativeStages } from './slow-native.mjs'

/**
 * @typedef {{ outcome: 'passed' | 'failed' | 'skipped', name: string, reason?: string }} Outcome
 * @typedef {{ name: string, run: () => Promise<Outcome[]> }} Stage
 */

/** @type {Stage[]} */
export const stages = [
  { name: 'types', run: () => check('types', 'node_modules/.bin/tsc', ['--noEmit', '-p', '.']) },
  { name: 'types of the studio', run: () => check('types of the studio', 'node_modules/.bin/tsc', ['-p', 'studio']) },
  { name: 'lint', run: () => check('lint', 'node_modules/.bin/biome', ['check', '.']) },
  { name: 'tests', run: () => runTests(testFiles().filter((file) => !isSlow(file))) },
]

/** Added by `npm run test:slow`, which leaves out the stages above. @type {Stage[]} */
export const slowStages = [{ name: 'slow tests', run: () => runTests(testFiles().filter(isSlow)) }, ...nativeStages]

/** The built test files whose source exists; dist may hold more from earlier builds. */
export function testFiles() {
  return ['src', 'bench', 'test']
    .flatMap((folder) => filesBelow(join(root, folder)))
    .filter((file) => file.endsWith('.test.ts'))
    .map((file) => join('dist', relative(root, file).replace(/\.ts$/, '.js')))
    .sort()
}

const isSlow = (file) => file.endsWith('.slow.test.js')

function filesBelow(folder) {
  let entries
  try {
    entries = readdirSync(folder, { withFileTypes: true })
  } catch (error) {
    if (error.code === 'ENOENT') return []
    throw error
  }
  return entries.flatMap((entry) => {
    const path = join(folder, entry.name)
    return entry.isDirectory() ? filesBelow(path) : [path]
  })
}

/** One check: a command that passes by exit code 0. Its output is shown. @returns {Promise<Outcome[]>} */
export async function check(name, command, args, env = {}) {
  const code = await spawned(command, args, env)
  return [{ outcome: code === 0 ? 'passed' : 'failed', name, reason: code === 0 ? undefined : `exit code ${code}` }]
}

/** Runs test files, two at a time, with more environment variables if given. @returns {Promise<Outcome[]>} */
export async function runTests(files, env = {}) {
  if (files.length === 0) return []
  const folder = mkdtempSync(join(tmpdir(), 'mambakit-test-'))
  const counts = join(folder, 'counts.jsonl')
  try {
    const reporters = [
      '--test-reporter=spec',
      '--test-reporter-destination=stdout',
      `--test-reporter=${join(root, 'scripts/count-reporter.mjs')}`,
      `--test-reporter-destination=${counts}`,
    ]
    const limits = ['--test-concurrency=2', '--test-timeout=600000']
    const code = await spawned(process.execPath, ['--test', ...limits, ...reporters, ...files], env)
    const outcomes = readFileSync(counts, 'utf8')
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line))
    const seen = outcomes.some(({ outcome }) => outcome === 'failed')
    if (code !== 0 && !seen) outcomes.push({ outcome: 'failed', name: 'test runner', reason: `exit code ${code}` })
    return outcomes
  } finally {
    rmSync(folder, { recursive: true })
  }
}

function spawned(command, args, env) {
  // What tests compare is plain text, also where CI or FORCE_COLOR would have the command line print colours into a pipe.
  const { FORCE_COLOR: _, ...own } = process.env
  return new Promise((done, fail) => {
    const child = spawn(command, args, {
      cwd: root,
      stdio: 'inherit',
      env: { ...own, NO_COLOR: '1', ...gpuEnvironment(), ...env },
    })
    child.on('error', fail)
    child.on('close', (code, signal) => done(code ?? signal))
  })
}
