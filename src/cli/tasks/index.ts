// Every task of the command line. The first one owns the models that no other knows.
import type { CliTask } from '../task.js'
import { imageClassification } from './image-classification.js'
import { languageModeling } from './language-modeling.js'

export const tasks: readonly CliTask[] = [languageModeling, imageClassification]
