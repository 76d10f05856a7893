// The claims of Mamba (arXiv 2312.00752) at the scale of two processor cores: selection lets a state-space model copy
// selectively and recall far beyond the length it was trained on, and makes it as good as a Transformer on text, at a
// time per token that does not grow with the context.
import type { Experiment } from '../../experiments/experiment.js'
import { audioPart } from './experiment-audio.js'
import { copyingPart } from './experiment-copying.js'
import { decodingPart } from './experiment-decoding.js'
import { dnaPart } from './experiment-dna.js'
import { inductionPart } from './experiment-induction.js'
import { textPart } from './experiment-text.js'

export const experiment: Experiment = {
  slug: 'mamba',
  claim:
    'A selective state-space model copies selectively where a time-invariant one cannot, recalls at eight times the length it was trained on, and models text as well as a Transformer of its size at a time per token that does not grow with the context; on DNA and sound it is at least as good as its time-invariant counterpart.',
  headline: 'selective-copying/advantage',
  notes: [
    'Sizes are those of two processor cores: models of 20 thousand to half a million parameters, lengths of 64 to 16,384, minutes of training; the paper trains up to 2.8 billion parameters on 300 billion tokens.',
    'The time-invariant baseline is the same gated block with learned constants for step size, B and C (the paper’s S4 in the Mamba block, with S4D’s real spectrum); a few more states give it at least as many parameters.',
    'Learning rates were tried with the same effort for every method (results/mamba-sweep.md). Baselines take the best; Mamba takes it on text and DNA, and on the two synthetic tasks the rate that the specification gave beforehand, 0.002: the faster one makes it learn sooner on the average, but less surely.',
    'DNA takes 250 steps and sound 300, half of what the specification gives them. DNA at contexts that no criterion compares is trained once.',
  ],
  parts: [copyingPart, inductionPart, textPart, decodingPart, dnaPart, audioPart],
}
