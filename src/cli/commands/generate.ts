// `mambakit generate MODEL`: text that follows a prompt, as it is made.
import type { CliCommand } from '../command.js'
import { integerOption, numberOption } from '../command.js'
import { useChosenDevice } from '../device.js'
import { catchInterrupt } from '../interrupt.js'

interface GenerateCliOptions {
  prompt: string
  maxTokens: number
  temperature: number
  topK: number
  topP: number
  seed: number
  json: boolean
}

export const generate: CliCommand = {
  name: 'generate',
  summary: 'continue a text with a trained model',
  examples: [
    ['mambakit generate runs/notes --prompt "Call me"', 'stream a sample'],
    ['mambakit generate runs/notes --temperature 0', 'the most likely text'],
    ['echo "Call me" | mambakit generate runs/notes --prompt -', 'the prompt from standard input'],
  ],
  configure(command, globals) {
    command
      .argument('<model>', 'a run folder, a folder with config.json and model.safetensors, or a .safetensors file')
      .option('--prompt <text>', 'what to continue; - reads standard input', '')
      .option('--max-tokens <n>', 'tokens at most', integerOption('--max-tokens'), 256)
      .option('--temperature <t>', '0 takes the most likely token', numberOption('--temperature', 0), 0.8)
      .option('--top-k <k>', 'only the k most likely tokens; 0 for all', integerOption('--top-k'), 0)
      .option('--top-p <p>', 'only the most likely tokens that together reach p', numberOption('--top-p', 0, 1), 1)
      .option('--seed <n>', 'the same seed gives the same text', integerOption('--seed'), 0)
      .option('--json', 'print JSON', false)
      .action(async (path: string, options: GenerateCliOptions) => {
        const { loadModel } = await import('../../pipeline/load.node.js')
        const prompt = options.prompt === '-' ? await readStandardInput() : options.prompt
        const backend = await useChosenDevice(globals())
        const model = await loadModel(path, {
          backend,
          announce: (line) => process.stderr.write(`mambakit: ${line}\n`),
        })
        using interrupt = catchInterrupt('stopped')
        const started = performance.now()
        let text = ''
        let pieces = 0
        if (!options.json) process.stdout.write(prompt)
        try {
          for await (const piece of model.generate(prompt, { ...options, signal: interrupt.signal })) {
            pieces++
            text += piece
            if (!options.json) process.stdout.write(piece)
          }
        } catch (error) {
          if (!interrupt.signal.aborted) throw error
          process.exitCode = 130
        }
        const seconds = (performance.now() - started) / 1000
        const tokensPerSecond = pieces / seconds
        if (options.json) process.stdout.write(`${JSON.stringify({ prompt, text, tokensPerSecond })}\n`)
        else process.stdout.write(`\n`)
        if (process.stderr.isTTY)
          process.stderr.write(`${tokensPerSecond.toFixed(1)} tokens/s on ${backend.description}\n`)
      })
  },
}

async function readStandardInput(): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString('utf8').replace(/\n$/, '')
}
