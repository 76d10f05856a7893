// What the native and the WebAssembly build share: the C++ sources, and results kept by the hash of what made them.
import { createHash } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { root } from './setup.mjs'

const native = join(root, 'native')

/** Path below native/ -> text, of everything that a compilation may read. */
export function readSources() {
  const names = readdirSync(native, { recursive: true }).map((name) => name.replaceAll('\\', '/'))
  return Object.fromEntries(
    names
      .filter((name) => /\.(cc|h)$/.test(name))
      .sort()
      .map((name) => [name, readFileSync(join(native, name), 'utf8')]),
  )
}

/** The sources that are compiled for every instruction set. */
export const kernelSources = (sources) =>
  Object.keys(sources).filter((name) => name === 'table.cc' || (name.startsWith('kernels/') && name.endsWith('.cc')))

/** A source with every header it includes, also indirectly: what its object depends on. */
export function withHeaders(sources, name, seen = new Set()) {
  if (seen.has(name) || sources[name] === undefined) return seen
  seen.add(name)
  for (const [, included] of sources[name].matchAll(/^#include "(.+)"$/gm)) {
    withHeaders(sources, join(dirname(name), included).replaceAll('\\', '/'), seen)
    withHeaders(sources, included, seen)
  }
  return seen
}

export function hashOf(...parts) {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(`${part.length}:`).update(part)
  return hash.digest('hex').slice(0, 20)
}

/** Writes by renaming, so that a build that is interrupted leaves no half file. */
export function writeWhole(path, content) {
  mkdirSync(dirname(path), { recursive: true })
  const temporary = `${path}.${process.pid}.tmp`
  writeFileSync(temporary, content)
  renameSync(temporary, path)
}

/** Deletes the cached files that this build did not use, unless a build of the last two weeks did. */
export function trimCache(folder, used) {
  const now = Date.now()
  for (const name of readdirSync(folder)) {
    const path = join(folder, name)
    if (used.has(name)) utimesSync(path, now / 1000, now / 1000)
    else if (now - statSync(path).mtimeMs > 14 * 24 * 3600 * 1000) rmSync(path)
  }
}

/** Runs jobs (functions that give promises), `width` at a time; the first failure ends it. */
export async function runJobs(jobs, width) {
  const waiting = [...jobs]
  const lane = async () => {
    for (let job = waiting.shift(); job; job = waiting.shift()) await job()
  }
  await Promise.all(Array.from({ length: width }, lane))
}
