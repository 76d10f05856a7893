// `mambakit run CASE`: answers a recorded case, so that anyone can compare us with the official code.
import { join } from 'node:path'
import type { CliCommand } from '../command.js'
import { useChosenDevice } from '../device.js'

export const run: CliCommand = {
  name: 'run',
  summary: 'build the model a config.json describes and feed it named tensors',
  examples: [
    ['mambakit run case/ --in case/inputs.safetensors --out out.safetensors', 'write the named outputs'],
    ['mambakit run case/ --in in.safetensors --out out.safetensors --device wasm', 'on another device'],
  ],
  configure(command, globals) {
    command
      .argument('<folder>', 'with config.json and model.safetensors')
      .option('--in <file>', 'named input tensors; default: inputs.safetensors in the folder')
      .requiredOption('--out <file>', 'where the named output tensors go')
      .action(async (folder: string, options: { in?: string; out: string }) => {
        const { runCase } = await import('../../pipeline/run-case.node.js')
        const backend = await useChosenDevice(globals())
        await runCase(folder, options.in ?? join(folder, 'inputs.safetensors'), options.out, backend)
      })
  },
}
