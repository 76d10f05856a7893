// What gradient tests share: a test that an operation's gradient by the tape equals central differences, in float64.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openReference } from '../backend/reference/index.js'
import * as T from './index.js'
import { elementCount } from './shape.js'

export const backend = openReference()
T.setDefaultBackend(backend)

/** Deterministic values in [low, high) with no structure. */
export function values(shape: readonly number[], seed: number, low = -1.5, high = 1.5): Float64Array {
  const out = new Float64Array(elementCount(shape))
  let state = seed * 2654435761 + 12345
  for (let i = 0; i < out.length; i++) {
    state = (Math.imul(state ^ (state >>> 15), 2246822519) + 0x9e3779b9) >>> 0
    out[i] = low + ((state >>> 8) / 2 ** 24) * (high - low)
  }
  return out
}

export function leaf(shape: readonly number[], content: ArrayLike<number>): T.Tensor {
  const tensor = T.empty(backend, shape)
  backend.setValues(tensor, content)
  tensor.requiresGrad = true
  return tensor
}

export interface GradientCase {
  inputs: (readonly number[])[]
  run: (...inputs: T.Tensor[]) => T.Tensor | readonly T.Tensor[]
  low?: number
  high?: number
}

/** Compares d sum(out * g) / d input by the tape with central differences. */
export function check(name: string, { inputs, run, low, high }: GradientCase): void {
  test(`gradient of ${name} equals central differences`, () => {
    T.scope(() => {
      const contents = inputs.map((shape, i) => values(shape, i + 1, low, high))
      const outputsOf = (leaves: T.Tensor[]) => [run(...leaves)].flat() as T.Tensor[]
      const weights = outputsOf(inputs.map((shape, i) => leaf(shape, contents[i]))).map((out, i) =>
        values(out.shape, 100 + i),
      )
      const objective = (leaves: T.Tensor[]) =>
        outputsOf(leaves)
          .map((out, i) => T.sum(T.mul(out, leaf(out.shape, weights[i]))))
          .reduce((a, b) => T.add(a, b))
      const leaves = inputs.map((shape, i) => leaf(shape, contents[i]))
      const grads = T.grad(objective(leaves), leaves).map((g) => backend.values(g))
      const evaluate = () =>
        T.scope(() => backend.values(T.noGrad(() => objective(inputs.map((shape, i) => leaf(shape, contents[i])))))[0])
      contents.forEach((content, which) => {
        for (let i = 0; i < content.length; i++) {
          const before = content[i]
          const h = 1e-5
          content[i] = before + h
          const above = evaluate()
          content[i] = before - h
          const below = evaluate()
          content[i] = before
          const expected = (above - below) / (2 * h)
          const got = grads[which][i]
          assert.ok(
            Math.abs(got - expected) <= 1e-6 * (1 + Math.abs(expected)),
            `input ${which}, element ${i}: tape ${got}, differences ${expected}`,
          )
        }
      })
    })
  })
}
