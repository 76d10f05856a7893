// A worker thread with Clang and its linker in it: takes { tool, args, files }, gives { output } or { error }.
import { parentPort } from 'node:worker_threads'
import { commands } from '@yowasp/clang'

parentPort.on('message', async ({ tool, args, files }) => {
  const printed = []
  const options = { stdout: (bytes) => bytes && printed.push(bytes), stderr: (bytes) => bytes && printed.push(bytes) }
  try {
    const { out } = await commands[tool === 'link' ? 'wasm-ld' : 'clang++'](args, files, options)
    const warnings = Buffer.concat(printed).toString()
    if (warnings) console.error(warnings)
    parentPort.postMessage({ output: out })
  } catch (error) {
    parentPort.postMessage({ error: `${Buffer.concat(printed)}${error.message}` })
  }
})
