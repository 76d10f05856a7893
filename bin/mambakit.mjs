#!/usr/bin/env node
// The `mambakit` command: starts the built command line.
import { existsSync } from 'node:fs'

const entry = new URL('../dist/src/cli/main.js', import.meta.url)
if (!existsSync(entry)) {
  console.error('mambakit: not built yet; run `npm run build` in the clone first')
  process.exit(1)
}
const { main } = await import(entry.href)
await main(process.argv)
