// One AdamW step, element by element.
import { elementwise } from './elementwise.wgsl.js'
import { type Encoder, present, read, update, write } from './launcher.js'

export const adamW: Encoder<'adamW'> = (launcher, operands, { beta1, beta2, epsilon, weightDecay }) => {
  const { parameter, gradient, firstMoment, secondMoment, schedule, gradScale, master } = operands
  const everywhere = { shape: parameter.shape, strides: parameter.shape.map(() => 0) }
  const weight = master ? 'w' : 'p'
  elementwise(launcher, {
    label: 'adamW',
    bindings: present({
      p: master ? write(parameter) : update(parameter),
      w: master && update(master),
      g: read(gradient),
      m: update(firstMoment),
      v: update(secondMoment),
      schedule: read({ ...schedule, ...everywhere }),
      factor: gradScale && read({ ...gradScale, ...everywhere }),
    }),
    floats: { beta1, beta2, rest1: 1 - beta1, rest2: 1 - beta2, epsilon, decay: weightDecay },
    // An infinite or NaN scale (its exponent bits are all ones) leaves everything as it was.
    text: `
    let rate = schedule;
    let scale = ${gradScale ? 'factor' : '1.0'};
    if ((bitcast<u32>(scale) & 0x7f800000u) != 0x7f800000u) {
      let grad = g * scale;
      m = args.beta1 * m + args.rest1 * grad;
      v = args.beta2 * v + args.rest2 * grad * grad;
      let step = rate / schedule_get(1u) * m / (sqrt(v / schedule_get(2u)) + args.epsilon);
      ${weight} = ${weight} - rate * args.decay * ${weight} - step;
    }
    ${master ? 'p = w;' : ''}`,
  })
}
