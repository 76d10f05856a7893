// Gradient checkpointing of a block: the forward keeps the block's input alone, the backward runs it again.
import { checkpoint, type Tensor } from '../tensor/index.js'
import type { Module } from './module.js'

/**
 * block.forward(input); where `recompute` and the block is training, without keeping what its gradients need: the
 * backward runs it again with the same random numbers. Batch statistics would be taken in twice; a block that keeps them
 * must not be recomputed.
 */
export function throughBlock(
  block: Module & { forward(input: Tensor): Tensor },
  input: Tensor,
  recompute: boolean,
): Tensor {
  if (!recompute || !block.training) return block.forward(input)
  const parameters = block.parameters().map(({ value }) => value)
  return checkpoint((x) => block.forward(x), [input], parameters)
}
