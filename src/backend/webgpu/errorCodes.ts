// The numbers by which a kernel names itself in the device's error words; 0 means no error.
import { type KernelName, kernels } from '../kernels.js'

const names = Object.keys(kernels) as KernelName[]

export const kernelCode = (name: KernelName) => names.indexOf(name) + 1
export const kernelOfCode = (code: number) => names[code - 1]
