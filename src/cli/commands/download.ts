// `mambakit download ID`: a model of the Hugging Face hub into the cache, where loading by its id finds it.
import { type CliCommand, UsageError } from '../command.js'
import { downloadDisplay } from '../downloads.js'
import { catchInterrupt } from '../interrupt.js'

interface DownloadCliOptions {
  only?: string
  json: boolean
}

const environment = `Environment: HF_HOME, HF_HUB_CACHE (where the cache is), HF_TOKEN (for gated models), HF_ENDPOINT (another hub),
HF_HUB_OFFLINE=1 (the cache only); as huggingface_hub has them, with which the cache is shared.`

export const download: CliCommand = {
  name: 'download',
  summary: 'fetch a model from the Hugging Face hub into its cache',
  examples: [
    ['mambakit download state-spaces/mamba-130m-hf', 'weights, configuration, tokenizer; again: goes on'],
    ['mambakit download owner/name@v1.0', 'a branch, tag or commit'],
    ['mambakit download EleutherAI/gpt-neox-20b --only tokenizer', 'the tokenizer of the published Mamba models'],
  ],
  configure(command) {
    command
      .argument('<id>', 'owner/name or owner/name@revision')
      .option('--only <part>', 'tokenizer or config: that alone')
      .option('--json', 'print JSON', false)
      .addHelpText('after', `\n${environment}`)
      .action(async (text: string, { only, json }: DownloadCliOptions) => {
        if (only !== undefined && only !== 'tokenizer' && only !== 'config')
          throw new UsageError(`--only: expected tokenizer or config, got '${only}'`)
        const { downloadModel } = await import('../../pipeline/load.node.js')
        using interrupt = catchInterrupt('stopped; the same command goes on from here')
        using display = downloadDisplay()
        const folder = await downloadModel(text, { want: only, signal: interrupt.signal, ...display })
        process.stdout.write(json ? `${JSON.stringify({ folder })}\n` : `${folder}\n`)
      })
  },
}
