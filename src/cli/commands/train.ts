// `mambakit train TASK`: trains a model on the user's own data, with checkpoints that a killed run resumes from.
import type { CliCommand } from '../command.js'
import { tasks } from '../tasks/index.js'
import { addTrainingOptions, runTraining } from '../training.js'

export const train: CliCommand = {
  name: 'train',
  summary: 'train a model on your own data',
  examples: tasks.flatMap(({ train: { examples } }) => examples),
  configure(command, globals) {
    for (const task of tasks) {
      const { description, options, examples, defaults } = task.train
      const help = examples.map(([line, effect]) => `  ${line}\n      ${effect}`).join('\n')
      addTrainingOptions(options(command.command(task.name).description(description)), defaults)
        .addHelpText('after', `\nExamples:\n${help}`)
        .action((given: { json: boolean; out: string } & Record<string, unknown>) =>
          runTraining(task, given, globals()),
        )
    }
  },
}
