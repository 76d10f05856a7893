// `mambakit generate MODEL`: text that follows a prompt, as it is made; or what follows several, side by side.

import type { TokenScore } from '../../models/sampling.js'
import type { LanguageModel } from '../../pipeline/language-model.js'
import type { TextOptions, TextSession } from '../../pipeline/session.js'
import type { CliCommand } from '../command.js'
import { integerOption, UsageError } from '../command.js'
import { readText } from '../input.js'
import { catchInterrupt } from '../interrupt.js'
import { addModelArgument, loadChosenModel, type ModelOptions } from '../model.js'
import { addSamplingOptions, collect, type SamplingCliOptions } from '../sampling.js'

interface GenerateCliOptions extends SamplingCliOptions, ModelOptions {
  prompt?: string[]
  promptFile?: string[]
  stop?: string[]
  logprobs?: number
  loadState?: string
  saveState?: string
  json: boolean
}

export const generate: CliCommand = {
  name: 'generate',
  summary: 'continue a text with a trained model',
  examples: [
    ['mambakit generate runs/notes --prompt "Call me"', 'stream a sample'],
    ['mambakit generate runs/notes --temperature 0', 'the most likely text'],
    ['echo "Call me" | mambakit generate runs/notes --prompt -', 'the prompt from standard input'],
    ['mambakit generate runs/notes --prompt "One" --prompt "Two" --json', 'several prompts side by side'],
    ['mambakit generate runs/notes --prompt "He said" --stop "." --stop "!"', 'up to the end of a sentence'],
    ['mambakit generate runs/notes --prompt-file book.txt --max-tokens 0 --save-state book.state', 'read once ...'],
    ['mambakit generate runs/notes --load-state book.state --prompt "And"', '... and go on from there at once'],
  ],
  configure(command, globals) {
    addModelArgument(command)
      .option('--prompt <text>', 'what to continue; - reads standard input; again for several', collect)
      .option('--prompt-file <path>', 'a file with what to continue; again for several', collect)
    addSamplingOptions(command, { maxTokens: 256 })
      .option('--stop <text>', 'ends the text before this; may be given again', collect)
      .option(
        '--logprobs <k>',
        'with --json: log-probabilities, and the k best of each token',
        integerOption('--logprobs'),
      )
      .option('--load-state <file>', 'continue after what --save-state kept')
      .option('--save-state <file>', 'keep the state after all that was read and written')
      .option('--json', 'print JSON', false)
      .action(async (path: string, options: GenerateCliOptions) => {
        const { loadState, saveState, json, stop } = options
        if (options.logprobs !== undefined && !json)
          throw new UsageError('--logprobs: expected --json as well; text has no place for numbers')
        const prompts = await readPrompts(options)
        if (prompts.length > 1 && saveState !== undefined)
          throw new UsageError(`--save-state: expected one prompt, got ${prompts.length}; a state is that of one text`)
        const { model, backend } = await loadChosenModel(path, globals(), options)
        const state = loadState === undefined ? undefined : await model.loadState(loadState)
        using interrupt = catchInterrupt('stopped')
        const given = { ...options, stop, signal: interrupt.signal }
        const started = performance.now()
        let count = 0
        const session = prompts.length === 1 ? model.session(state) : null
        try {
          count = session
            ? await generateOne(session, prompts[0], { ...given, echo: !json && !options.promptFile }, json)
            : await generateSeveral(model, prompts, { ...given, state }, json)
        } catch (error) {
          if (!interrupt.signal.aborted) throw error
          process.exitCode = 130
        }
        // After an interruption too: what was read and written until then.
        if (session && saveState !== undefined) await (await session.state()).save(saveState)
        const tokensPerSecond = (1000 * count) / (performance.now() - started)
        if (process.stderr.isTTY)
          process.stderr.write(
            `${count} tokens, prompt included ${tokensPerSecond.toFixed(1)} tokens/s, on ${backend.description}\n`,
          )
      })
  },
}

async function readPrompts({ prompt = [], promptFile = [] }: GenerateCliOptions): Promise<string[]> {
  const prompts: string[] = []
  for (const text of prompt) prompts.push(text === '-' ? await readText('-') : text)
  for (const path of promptFile) prompts.push(await readText(path))
  return prompts.length === 0 ? [''] : prompts
}

/** Streams what follows one prompt, after the prompt itself if it is to be echoed, and returns how many tokens that took. */
async function generateOne(
  session: TextSession,
  prompt: string,
  options: TextOptions & { echo: boolean },
  json: boolean,
): Promise<number> {
  const started = performance.now()
  const tokens: number[] = []
  const logprobs: TokenScore[] = []
  let text = ''
  if (options.echo) process.stdout.write(prompt)
  try {
    await session.read(prompt, options)
    for await (const piece of session.generate(options)) {
      text += piece.text
      if (piece.token !== null) tokens.push(piece.token)
      if (piece.score) logprobs.push(piece.score)
      if (!json) process.stdout.write(piece.text)
    }
  } finally {
    const tokensPerSecond = (1000 * tokens.length) / (performance.now() - started)
    const scores = options.logprobs === undefined ? {} : { logprobs }
    if (json) process.stdout.write(`${JSON.stringify({ prompt, text, tokens, ...scores, tokensPerSecond })}\n`)
    else process.stdout.write('\n')
  }
  return tokens.length
}

/** Prints what follows several prompts, and returns how many tokens that took. */
async function generateSeveral(
  model: LanguageModel,
  prompts: readonly string[],
  options: Parameters<LanguageModel['generateBatch']>[1],
  json: boolean,
): Promise<number> {
  const results = (await model.generateBatch(prompts, options)).map((result, i) => ({ prompt: prompts[i], ...result }))
  if (json) process.stdout.write(`${JSON.stringify(results)}\n`)
  else process.stdout.write(`${results.map(({ prompt, text }) => prompt + text).join('\n\n')}\n`)
  return results.reduce((sum, { tokens }) => sum + tokens.length, 0)
}
