// The architecture map as a test: imports point downwards, papers do not know each other, and what pages import is free
// of Node's modules.
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

const src = fileURLToPath(new URL('../../src', import.meta.url))

/** Folders (and files) of src from the highest layer to the lowest. */
const layers = [
  ['cli', 'serve'],
  // What only commands may reach for outside src: bench/.
  ['..'],
  ['index.ts', 'pipeline'],
  ['papers'],
  ['experiments'],
  ['tasks'],
  ['train'],
  ['hub'],
  ['models'],
  ['nn', 'ssm'],
  ['data'],
  ['tensor'],
  ['backend'],
  ['errors.ts'],
]

const files = readdirSync(src, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'))
const sources = files.filter((file) => !/\.(test|fuzz|check)\.ts$/.test(file))

/** The specifiers that a file imports, static and dynamic, types included. */
function importsOf(file: string): string[] {
  const text = readFileSync(join(src, file), 'utf8')
  return [...text.matchAll(/(?:\bfrom|\bimport)\s*\(?\s*'([^']+)'/g)].map((match) => match[1])
}

/** The file below src that a relative import means, or null for a package. */
function target(file: string, specifier: string): string | null {
  if (!specifier.startsWith('.')) return null
  return relative(src, join(src, dirname(file), specifier.replace(/\.js$/, '.ts')))
}

function layerOf(file: string): number {
  return layers.findIndex((names) => names.includes(file.split('/')[0]))
}

test('every file belongs to a layer', () => {
  assert.ok(sources.length > 30 && sources.some((file) => importsOf(file).length > 0))
  assert.deepEqual(
    files.filter((file) => layerOf(file) === -1),
    [],
  )
})

test('imports point downwards', () => {
  const upwards = sources.flatMap((file) =>
    importsOf(file)
      .map((specifier) => target(file, specifier))
      .filter((to) => to !== null && layerOf(to) < layerOf(file))
      .map((to) => `${file} imports ${to}`),
  )
  assert.deepEqual(upwards, [])
})

test('a paper does not import another one', () => {
  const paperOf = (file: string) => /^papers\/([^/]+)\//.exec(file)?.[1]
  const sideways = sources.flatMap((file) =>
    importsOf(file)
      .map((specifier) => target(file, specifier))
      .filter((to) => to !== null && paperOf(file) && paperOf(to) && paperOf(file) !== paperOf(to))
      .map((to) => `${file} imports ${to}`),
  )
  assert.deepEqual(sideways, [])
})

test("only *.node.ts files, the command line, the server and the native backend name Node's modules", () => {
  const mayUseNode = (file: string) => /\.node\.ts$|^(cli|serve|backend\/native)\//.test(file)
  const tied = sources
    .filter((file) => !mayUseNode(file))
    .filter((file) => importsOf(file).some((specifier) => specifier.startsWith('node:')))
  assert.deepEqual(tied, [])
})
