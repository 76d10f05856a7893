// Builds the web studio to dist/studio: a static site that any file host can serve, at any path. Run by `npm run build`
// after TypeScript is built, because the data of the site comes from the built catalogue. Unchanged sources are not built
// again.
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { root } from './setup.mjs'

const out = join(root, 'dist/studio')
const stampFile = join(root, 'dist/studio.stamp')

/** Files below a folder, in order. */
function filesBelow(folder) {
  if (!existsSync(folder)) return []
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort()
}

/** Everything that the site is made of. */
function sourcesHash() {
  const files = [
    ...filesBelow(join(root, 'studio')),
    ...filesBelow(join(root, 'src/papers')).filter((file) => !file.endsWith('.test.ts')),
    ...filesBelow(join(root, 'results')),
    join(root, 'package-lock.json'),
    join(root, 'scripts/build-studio.mjs'),
  ]
  const hash = createHash('sha256')
  for (const file of files) hash.update(relative(root, file)).update('\0').update(readFileSync(file)).update('\0')
  return hash.digest('hex')
}

/** Builds where something changed. Throws where it cannot. */
export async function buildStudio() {
  const stamp = sourcesHash()
  if (existsSync(join(out, 'index.html')) && existsSync(stampFile) && readFileSync(stampFile, 'utf8') === stamp) return
  // Built aside and put in place whole: a server that runs meanwhile never shows half a site.
  const temporary = join(root, `dist/studio.${process.pid}.tmp`)
  await bundlePage(temporary)
  await writeData(temporary)
  await bundleWorker(temporary)
  rmSync(out, { recursive: true, force: true })
  renameSync(temporary, out)
  writeFileSync(stampFile, stamp)
}

async function bundlePage(outDir) {
  const { build } = await import('vite')
  await build({
    configFile: false,
    root: join(root, 'studio'),
    // Relative, so that the site works below any path.
    base: './',
    logLevel: 'warn',
    // Fonts stay files: as data they would be loaded by every visit.
    build: { outDir, emptyOutDir: true, target: 'es2022', assetsInlineLimit: 0, modulePreload: { polyfill: false } },
    oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  })
}

async function writeData(outDir) {
  const [{ readEntries }, { atomFeed }] = await Promise.all([
    import('../dist/src/papers/entries.node.js'),
    import('../dist/src/papers/feed.node.js'),
  ])
  const entries = await readEntries()
  mkdirSync(outDir, { recursive: true })
  writeFileSync(join(outDir, 'papers.json'), JSON.stringify(entries))
  writeFileSync(join(outDir, 'feed.xml'), atomFeed(entries))
  writeFileSync(join(outDir, 'studio.json'), JSON.stringify({ live: false, subscribe: false }))
}

async function bundleWorker(outDir) {
  const { build } = await import('esbuild')
  const files = filesBelow(outDir)
  const version = createHash('sha256')
  for (const file of files) version.update(relative(outDir, file)).update('\0').update(readFileSync(file))
  const names = ['./', ...files.map((file) => `./${relative(outDir, file).replaceAll('\\', '/')}`)]
  await build({
    entryPoints: [join(root, 'studio/src/serviceWorker.ts')],
    outfile: join(outDir, 'serviceWorker.js'),
    bundle: true,
    minify: true,
    format: 'iife',
    target: 'es2022',
    tsconfigRaw: {},
    define: { FILES: JSON.stringify(names), VERSION: JSON.stringify(version.digest('hex').slice(0, 16)) },
  })
}

if (process.argv[1] === join(root, 'scripts/build-studio.mjs')) await buildStudio()
