// Table rows by id, and the addition of rows to a table, in float64.
import type { ReferenceKernel } from './view.js'

export const gather: ReferenceKernel<'gather'> = ({ table, ids, out }, _, reportIndex) => {
  const [size, n] = table.shape
  for (let r = 0; r < ids.shape[0]; r++) {
    const id = ids.at(r)
    const inside = id >= 0 && id < size
    if (!inside) reportIndex(id, size)
    for (let c = 0; c < n; c++) out.put(inside ? table.at(id, c) : 0, r, c)
  }
}

export const scatterAdd: ReferenceKernel<'scatterAdd'> = ({ rows, ids, table }, _, reportIndex) => {
  const [size, n] = table.shape
  for (let r = 0; r < ids.shape[0]; r++) {
    const id = ids.at(r)
    if (id < 0 || id >= size) reportIndex(id, size)
    else for (let c = 0; c < n; c++) table.add(rows.at(r, c), id, c)
  }
}
