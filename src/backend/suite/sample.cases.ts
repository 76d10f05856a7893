// Cases of draws from logits: each way of keeping, equal logits at the border, rows of odd and large sizes.
import { Draw, type KernelCase, kernelCase, operandOf, output } from './operands.js'

const ways = [
  { temperature: 1, topK: 0, topP: 1, minP: 0 },
  { temperature: 0.7, topK: 5, topP: 1, minP: 0 },
  { temperature: 1.3, topK: 0, topP: 0.6, minP: 0 },
  { temperature: 1, topK: 0, topP: 1, minP: 0.2 },
  { temperature: 0.9, topK: 7, topP: 0.55, minP: 0.1 },
]

export function* sampleCases(): Generator<KernelCase> {
  const draw = new Draw(71)
  for (const numbers of ways) {
    const kept = `temperature ${numbers.temperature}, topK ${numbers.topK}, topP ${numbers.topP}, minP ${numbers.minP}`
    for (const [rows, n, pad, dtype] of [
      [5, 40, 0, 'float32'],
      [3, 257, 3, 'float32'],
      [2, 5003, 1, 'float16'],
      [1, 1, 0, 'float32'],
    ] as const) {
      const operands = {
        logits: draw.floats([rows, n], -4, 4, { pad, dtype }),
        uniform: draw.floats([rows], 0, 1),
        out: output([rows], { dtype: 'int32' }),
      }
      yield kernelCase('sample', `(${rows}, ${n}) ${dtype}, ${kept}`, operands, numbers)
    }
    // Every eighth logit is one value, so that borders fall among equals; one draw serves all rows.
    const equal = operandOf([4, 64], (i) => (i * 5) % 8)
    const uniform = operandOf([4], () => 0.83, { strides: [0] })
    yield kernelCase(
      'sample',
      `equal logits, ${kept}`,
      { logits: equal, uniform, out: output([4], { dtype: 'int32' }) },
      numbers,
    )
  }
}
